"""gpunet.losses: values and gradients against PyTorch, gradcheck and by hand; bad targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.study.gradcheck import gradcheck
from tests.networks import BATCHES, check, golden, numbers

LOSSES: list[gn.Op] = [
    gn.softmax_cross_entropy,
    gn.mean_squared_error,
    gn.kl_divergence,
    gn.sigmoid_cross_entropy,
    gn.mean_absolute_error,
    gn.huber,
]


def soft(xp: Any, *shape: int, seed: int = 1) -> Any:
    """Rows that sum to 1, one of them with a 0."""
    q = np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])
    q[..., 0, :] = np.eye(shape[-1])[-1]
    return xp.asarray(q)


def labels(xp: Any, *shape: int, classes: int = 5, seed: int = 2) -> Any:
    return xp.asarray(np.random.default_rng(seed).integers(0, classes, shape))


def run(op: gn.Op, gy: Any, z: Any, t: Any, **options: Any) -> tuple[Any, Any]:
    leaf = gn.Tensor(z, requires_grad=True)
    loss = op(leaf, t, **options)
    loss.backward(gy)
    return to_host(loss.data), to_host(leaf.grad)


# --- golden values --------------------------------------------------------------------------------

SOFTMAX: dict[str, dict[str, Any]] = {
    "softmax_integer": {},
    "softmax_soft": {},
    "softmax_smooth": {"label_smoothing": 0.1},
    "softmax_weights": {"class_weights": True},
    "softmax_smooth_weights": {"label_smoothing": 0.1, "class_weights": True},
    "softmax_soft_smooth": {"label_smoothing": 0.1},
    "softmax_soft_weights": {"class_weights": True},
}


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("case", SOFTMAX)
def test_softmax_cross_entropy_equals_pytorch(xp: Any, case: str, rows: int) -> None:
    g = golden(xp, f"{case}/b{rows}")
    options = dict(SOFTMAX[case])
    if "class_weights" in options:
        options["class_weights"] = g["weight"]
    loss, dz = run(gn.softmax_cross_entropy, g["gy"], g["z"], g["t"], **options)
    check(loss, g["loss"])
    check(dz, g["dz"])


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("reduction", ["mean", "half_sum"])
def test_mean_squared_error_equals_pytorch(xp: Any, reduction: str, rows: int) -> None:
    g = golden(xp, f"mse_{reduction}/b{rows}")
    loss, dx = run(gn.mean_squared_error, g["gy"], g["x"], g["t"], reduction=reduction)
    check(loss, g["loss"])
    check(dx, g["dx"])


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("case", ["kl", "binary"])
def test_kl_and_sigmoid_loss_equal_pytorch(xp: Any, case: str, rows: int) -> None:
    g = golden(xp, f"{case}/b{rows}")
    op, t = (gn.kl_divergence, g["q"]) if case == "kl" else (gn.sigmoid_cross_entropy, g["t"])
    loss, dz = run(op, g["gy"], g["z"], t)
    check(loss, g["loss"])
    check(dz, g["dz"])


# --- by hand --------------------------------------------------------------------------------------


def test_softmax_cross_entropy_by_hand(xp: Any) -> None:
    z = xp.asarray(np.log(np.array([[1.0, 3.0], [1.0, 1.0]])))
    loss, dz = run(gn.softmax_cross_entropy, None, z, xp.asarray(np.array([1, 0])))
    check(loss, -(np.log(0.75) + np.log(0.5)) / 2)
    check(dz, np.array([[0.125, -0.125], [-0.25, 0.25]]))


def test_mean_squared_error_by_hand(xp: Any) -> None:
    y, t = (xp.asarray(np.array([v])) for v in ([1.0, 5.0], [0.0, 2.0]))
    loss, dy = run(gn.mean_squared_error, None, y, t)
    check(loss, np.array(5.0))
    check(dy, np.array([[1.0, 3.0]]))
    loss, dy = run(gn.mean_squared_error, None, y, t, reduction="half_sum")
    check(loss, np.array(5.0))
    check(dy, np.array([[1.0, 3.0]]))


def test_mean_absolute_error_by_hand(xp: Any) -> None:
    y, t = (xp.asarray(np.array([v])) for v in ([1.0, 5.0, -2.0, 3.0], [0.0, 5.0, 2.0, 4.0]))
    loss, dy = run(gn.mean_absolute_error, None, y, t)
    check(loss, np.array(1.5))
    check(dy, np.array([[0.25, 0.0, -0.25, -0.25]]))  # the subgradient at 0 is 0


def test_huber_by_hand(xp: Any) -> None:
    y, t = (xp.asarray(np.array([v])) for v in ([1.0, 5.0, -4.0, 0.5], [0.0, 2.0, 2.0, 0.5]))
    loss, dy = run(gn.huber, None, y, t, delta=2.0)
    check(loss, np.array((0.5 + 2 * 2 + 2 * 5 + 0) / 4))
    check(dy, np.array([[0.25, 0.5, -0.5, 0.0]]))


def test_huber_between_its_ends(xp: Any) -> None:
    """With a large delta half the squared error; with a small one delta times the absolute one."""
    y, t = numbers(xp, 6, 3), numbers(xp, 6, 3, seed=1)
    for found, wanted in zip(
        run(gn.huber, None, y, t, delta=100.0), run(gn.mean_squared_error, None, y, t), strict=True
    ):
        check(found, wanted / 2)
    _, dy = run(gn.huber, None, y, t, delta=1e-9)
    check(dy, run(gn.mean_absolute_error, None, y, t)[1] * 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_of_large_errors_do_not_overflow(xp: Any, dtype: str) -> None:
    """The square of 1e30 is no float32, and Huber does not take it."""
    big = 1e30 if dtype == "float32" else 1e300
    y = xp.asarray(np.array([[big, -big]], dtype))
    with np.errstate(all="raise"):
        loss, dy = run(gn.huber, None, y, xp.zeros_like(y))
        np.testing.assert_allclose(loss, big, rtol=1e-6)
        assert dy.tolist() == [[0.5, -0.5]]
        loss, dy = run(gn.mean_absolute_error, None, y, xp.zeros_like(y))
        np.testing.assert_allclose(loss, big, rtol=1e-6)
        assert dy.tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("op", [gn.mean_absolute_error, gn.huber])
def test_infinite_and_missing_errors(xp: Any, op: gn.Op) -> None:
    y, t = xp.asarray(np.array([np.inf, -np.inf, np.nan, 1.0])), xp.zeros(4)
    loss, dy = run(op, None, y, t)
    assert np.isnan(loss)
    np.testing.assert_array_equal(dy, [0.25, -0.25, np.nan, 0.25])
    assert run(op, None, y[:2], t[:2])[0] == np.inf


def test_kl_divergence_by_hand(xp: Any) -> None:
    z, q = xp.asarray(np.log(np.array([[1.0, 3.0]]))), xp.asarray(np.array([[0.0, 1.0]]))
    loss, dz = run(gn.kl_divergence, None, z, q)
    check(loss, -np.log(0.75))
    check(dz, np.array([[0.25, -0.25]]))
    same, dz = run(gn.kl_divergence, None, z, xp.asarray(np.array([[0.25, 0.75]])))
    check(same, np.array(0.0))
    check(dz, np.zeros((1, 2)))


def test_sigmoid_cross_entropy_by_hand(xp: Any) -> None:
    z, t = xp.asarray(np.log(np.array([[3.0], [1.0]]))), xp.asarray(np.array([[1.0], [0.0]]))
    loss, dz = run(gn.sigmoid_cross_entropy, None, z, t)
    check(loss, -(np.log(0.75) + np.log(0.5)) / 2)
    check(dz, np.array([[-0.125], [0.25]]))


# --- gradcheck ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 8, 33])
def test_softmax_cross_entropy_passes_gradcheck(xp: Any, rows: int) -> None:
    z, t, q = numbers(xp, rows, 5), labels(xp, rows), soft(xp, rows, 5)
    weights = xp.asarray(np.linspace(0.2, 2, 5))
    for targets in (t, q):
        for options in (
            {},
            {"label_smoothing": 0.2},
            {"class_weights": weights},
            {"class_weights": weights, "label_smoothing": 0.2},
        ):
            assert gradcheck(
                lambda z, t=targets, o=options: gn.softmax_cross_entropy(z, t, **o), [z]
            )


@pytest.mark.parametrize("lead", [(), (3,)], ids=str)
@pytest.mark.parametrize("rows", [2, 3, 8, 33])
def test_other_losses_pass_gradcheck(xp: Any, rows: int, lead: Any) -> None:
    z, t, q = numbers(xp, *lead, rows, 3), numbers(xp, *lead, rows, 3, seed=1), None
    q = soft(xp, *lead, rows, 3)
    for reduction in ("mean", "half_sum"):
        assert gradcheck(lambda z, r=reduction: gn.mean_squared_error(z, t, reduction=r), [z])
    assert gradcheck(lambda z: gn.mean_absolute_error(z, t), [z])
    for delta in (0.2, 1.0, 10.0):
        assert gradcheck(lambda z, d=delta: gn.huber(z, t, delta=d), [z])
    assert gradcheck(lambda z: gn.kl_divergence(z, q), [z])
    assert gradcheck(lambda z: gn.sigmoid_cross_entropy(z, q), [z])


def test_losses_of_single_columns(xp: Any) -> None:
    z, t = numbers(xp, 6), xp.asarray(np.array([0, 1, 1, 0, 1, 0]))
    assert gradcheck(lambda z: gn.sigmoid_cross_entropy(z, t), [z])
    assert gradcheck(lambda z: gn.mean_squared_error(z, t), [z])
    assert gradcheck(lambda z: gn.mean_absolute_error(z, t), [z])
    assert gradcheck(lambda z: gn.huber(z, t), [z])


# --- targets of several kinds ---------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
def test_labels_and_one_hot_give_identical_results(xp: Any, classes: int) -> None:
    """Labels are told by the missing axis, not by their number (the book's trap)."""
    z, t = numbers(xp, 4, classes), labels(xp, 4, classes=classes)
    one_hot = xp.asarray(np.eye(classes)[to_host(t)])
    for options in ({}, {"label_smoothing": 0.1}):
        by_label = run(gn.softmax_cross_entropy, None, z, t, **options)
        by_row = run(gn.softmax_cross_entropy, None, z, one_hot, **options)
        whole = run(gn.softmax_cross_entropy, None, z, one_hot.astype(int), **options)
        for a, b, c in zip(by_label, by_row, whole, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_label_dtypes(xp: Any, dtype: Any) -> None:
    z, t = numbers(xp, 4, 5), labels(xp, 4)
    wanted = run(gn.softmax_cross_entropy, None, z, t)
    found = run(gn.softmax_cross_entropy, None, z, t.astype(dtype))
    np.testing.assert_array_equal(found[1], wanted[1])


def test_lists_as_targets() -> None:
    z = numbers(np, 2, 3)
    assert gn.softmax_cross_entropy(z, [2, 0]).item() == pytest.approx(
        gn.softmax_cross_entropy(z, np.array([2, 0])).item()
    )
    assert gn.mean_squared_error([[1.0]], [[3.0]]).item() == 4.0


def test_sigmoid_loss_takes_a_vector_of_targets(xp: Any) -> None:
    """The usual binary case: logits (batch, 1), targets (batch,) of 0 and 1, of any dtype."""
    z, t = numbers(xp, 5, 1), xp.asarray(np.array([0, 1, 1, 0, 1]))
    wanted = run(gn.sigmoid_cross_entropy, None, z, t.astype(float)[:, None])
    for dtype in (bool, np.uint8, int, np.float32):
        found = run(gn.sigmoid_cross_entropy, None, z, t.astype(dtype))
        check(found[0], wanted[0])
        check(found[1], wanted[1])


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_integer_predictions_do_not_cut_targets(xp: Any, op: gn.Op) -> None:
    z, t = np.array([[1, 2], [3, 0]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    wanted = op(xp.asarray(z.astype(np.float32)), xp.asarray(t))
    found = op(xp.asarray(z), xp.asarray(t))
    assert found.dtype == np.float32
    assert found.item() == wanted.item()


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_float32_stays_float32(xp: Any, op: gn.Op) -> None:
    z = gn.Tensor(numbers(xp, 4, 3).astype(np.float32), requires_grad=True)
    loss = op(z, soft(xp, 4, 3))
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == z.grad.dtype == np.float32


def test_losses_never_overflow(xp: Any) -> None:
    z = xp.asarray(np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, dz = run(gn.softmax_cross_entropy, None, z, xp.asarray(np.array([0, 0])))
        check(loss, np.array(1e4, np.float32))
        check(dz, np.array([[0, 0], [-0.5, 0.5]], np.float32))
        loss, dz = run(gn.sigmoid_cross_entropy, None, z, xp.asarray(np.array([[1, 0], [1, 0]])))
        check(loss, np.array(5e3, np.float32))
        check(dz, np.array([[0, 0], [-0.25, 0.25]], np.float32))
        loss, _ = run(gn.kl_divergence, None, z, xp.asarray(np.eye(2, dtype=np.float32)))
        check(loss, np.array(0.0, np.float32))


def test_a_masked_class_has_no_part_in_the_loss(xp: Any) -> None:
    """A logit of -inf: log-sum-exp over the others; 0 log 0 = 0."""
    z = np.array([[1.0, 2.0, -np.inf], [0.0, -np.inf, 1.0]])
    t, soft_t = np.array([0, 2]), np.array([[0.5, 0.5, 0], [0.5, 0, 0.5]])
    right = (np.log(1 + np.e) + np.log(1 + np.exp(-1))) / 2
    for given in (t, np.eye(3)[t]):
        loss, dz = run(gn.softmax_cross_entropy, None, xp.asarray(z), xp.asarray(given))
        check(loss, np.array(right))
        assert np.isfinite(dz).all()
        assert not dz[np.isinf(z)].any()
    loss, dz = run(gn.kl_divergence, None, xp.asarray(z), xp.asarray(soft_t))
    log_sums = np.log(np.exp([1, 0]) + np.exp([2, 1]))
    check(loss, np.array((np.log(0.5) + log_sums - [1.5, 0.5]).mean()))
    assert np.isfinite(dz).all()
    loss, _ = run(gn.softmax_cross_entropy, None, xp.asarray(z), xp.asarray(np.array([2, 2])))
    assert loss == np.inf  # a label that is masked out


def test_infinite_logits_of_a_binary_loss(xp: Any) -> None:
    z, t = np.array([[np.inf, -np.inf, 0.0]]), np.array([[1.0, 0.0, 1.0]])
    loss, dz = run(gn.sigmoid_cross_entropy, None, xp.asarray(z), xp.asarray(t))
    check(loss, np.array(np.log(2) / 3))
    check(dz, np.array([[0, 0, -1 / 6]]))
    loss, _ = run(gn.sigmoid_cross_entropy, None, xp.asarray(z), xp.asarray(1 - t))
    assert loss == np.inf


# --- leading axes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labels", "soft", "weights", "smooth"])
def test_softmax_cross_entropy_with_models_equals_separate_runs(xp: Any, kind: str) -> None:
    z, gy = numbers(xp, 3, 4, 5), numbers(xp, 3, seed=7)
    t = soft(xp, 3, 4, 5) if kind == "soft" else labels(xp, 3, 4)
    options: dict[str, Any] = {}
    if kind == "weights":
        options["class_weights"] = xp.asarray(np.linspace(0.5, 2, 5))
    if kind == "smooth":
        options["label_smoothing"] = 0.3
    loss, dz = run(gn.softmax_cross_entropy, gy, z, t, **options)
    for k in range(3):
        one, gradient = run(gn.softmax_cross_entropy, gy[k], z[k], t[k], **options)
        check(loss[k], one)
        check(dz[k], gradient)


@pytest.mark.parametrize(
    ("op", "options"),
    [
        (gn.mean_squared_error, {}),
        (gn.mean_absolute_error, {}),
        (gn.huber, {"delta": 0.4}),
        (gn.mean_squared_error, {"reduction": "half_sum"}),
        (gn.kl_divergence, {}),
        (gn.sigmoid_cross_entropy, {}),
    ],
)
def test_other_losses_with_models_equal_separate_runs(xp: Any, op: gn.Op, options: Any) -> None:
    z, t, gy = numbers(xp, 3, 4, 5), soft(xp, 3, 4, 5), numbers(xp, 3, seed=7)
    loss, dz = run(op, gy, z, t, **options)
    for k in range(3):
        one, gradient = run(op, gy[k], z[k], t[k], **options)
        check(loss[k], one)
        check(dz[k], gradient)


def test_sigmoid_loss_with_models_takes_vectors_of_targets(xp: Any) -> None:
    z, t = numbers(xp, 3, 4, 1), labels(xp, 3, 4, classes=2)
    loss, _ = run(gn.sigmoid_cross_entropy, xp.ones(3), z, t)
    check(loss, gn.sigmoid_cross_entropy(z, t[..., None]).data)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "t", "message"),
    [
        ((4, 5), (3,), r"\(4, 5\) need labels of shape \(4,\), got \(3,\)"),
        ((4, 5), (4, 3), r"\(4, 5\) and targets of shape \(4, 3\) do not fit"),
        ((4, 5), (4, 1), r"\(4, 5\) and targets of shape \(4, 1\) do not fit"),
        ((4, 5), (), r"\(4, 5\) and targets of shape \(\) do not fit"),
        ((2, 4, 5), (4,), r"\(2, 4, 5\) and targets of shape \(4,\) do not fit"),
        ((2, 4, 5), (3, 4), r"\(2, 4, 5\) need labels of shape \(2, 4\), got \(3, 4\)"),
        ((5,), (), r"needs an array \(\.\.\., batch, features\), got shape \(5,\)"),
        ((0, 5), (0,), r"an empty batch, shape \(0, 5\)"),
        ((4, 0), (4,), r"an empty batch, shape \(4, 0\)"),
    ],
)
def test_softmax_cross_entropy_shapes(xp: Any, z: Any, t: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gn.softmax_cross_entropy(numbers(xp, *z), xp.zeros(t, int))


@pytest.mark.parametrize("op", LOSSES[1:], ids=lambda op: op.__name__)
@pytest.mark.parametrize("shape", [(4, 2), (4, 1), (3,), (4,), (2, 4, 3), ()], ids=str)
def test_targets_of_another_shape(xp: Any, op: gn.Op, shape: Any) -> None:
    """Nothing broadcasts: (batch, 1) beside (batch,) would make a (batch, batch) loss."""
    with pytest.raises(ValueError, match=r"do not fit") as caught:
        op(numbers(xp, 4, 3), xp.zeros(shape))
    assert "(4, 3)" in str(caught.value)
    assert str(shape) in str(caught.value)


def test_mean_squared_error_of_a_column_and_a_vector(xp: Any) -> None:
    with pytest.raises(ValueError, match=r"\(4, 1\) and targets of shape \(4,\) do not fit"):
        gn.mean_squared_error(numbers(xp, 4, 1), xp.zeros(4))


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_an_empty_batch(xp: Any, op: gn.Op) -> None:
    with pytest.raises(ValueError, match=rf"{op.__name__}: an empty batch, shape \(0, 3\)"):
        op(numbers(xp, 0, 3), xp.zeros((0, 3)))


@pytest.mark.parametrize("bad", [-1, 5, 100])
def test_a_label_out_of_range(xp: Any, bad: int) -> None:
    z, t = numbers(xp, 2, 3, 5), np.zeros((2, 3), int)
    t[1, 2] = bad
    if xp is np:
        message = rf"label {bad} in row 1, column 2 is out of range: .* 5 outputs, .* from 0 to 4"
        with pytest.raises(ValueError, match=message):
            gn.softmax_cross_entropy(z, t)
    else:  # asking the values would wait for the GPU: the loss says it
        loss = to_host(gn.softmax_cross_entropy(z, xp.asarray(t)).data)
        assert np.isfinite(loss[0])
        assert np.isnan(loss[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_labels_that_are_no_integers(xp: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match=f"labels must be integers, got {np.dtype(dtype)}"):
        gn.softmax_cross_entropy(numbers(xp, 4, 5), xp.ones(4, dtype))


def test_nan_labels(xp: Any) -> None:
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        gn.softmax_cross_entropy(numbers(xp, 2, 5), xp.asarray(np.array([0.0, np.nan])))


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_nan_makes_a_nan_loss(xp: Any, op: gn.Op) -> None:
    good, nan = numbers(xp, 4, 3), numbers(xp, 4, 3)
    nan[1, 1] = np.nan
    q = soft(xp, 4, 3)
    bad = q.copy()
    bad[1, 1] = np.nan
    assert np.isnan(op(nan, q).item())
    assert np.isnan(op(good, bad).item())
    assert np.isfinite(op(good, q).item())


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_label_smoothing_out_of_range(xp: Any, value: float) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\)"):
        gn.softmax_cross_entropy(numbers(xp, 2, 3), labels(xp, 2), label_smoothing=value)


@pytest.mark.parametrize("shape", [(2,), (4,), (1, 3), ()], ids=str)
def test_class_weights_of_a_wrong_length(xp: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match=r"class_weights must have shape \(3,\), got \("):
        gn.softmax_cross_entropy(
            numbers(xp, 2, 3), labels(xp, 2, classes=3), class_weights=xp.ones(shape)
        )


def test_class_weights_as_a_list(xp: Any) -> None:
    z, t = numbers(xp, 4, 3), labels(xp, 4, classes=3)
    weights = [0.5, 1.0, 2.0]
    check(
        run(gn.softmax_cross_entropy, None, z, t, class_weights=weights)[0],
        gn.softmax_cross_entropy(z, t, class_weights=xp.asarray(weights)).data,
    )


def test_an_unknown_reduction(xp: Any) -> None:
    with pytest.raises(ValueError, match='must be "mean" or "half_sum", got \'sum\''):
        gn.mean_squared_error(numbers(xp, 2, 3), numbers(xp, 2, 3), reduction="sum")


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_binary_targets_out_of_range(value: float) -> None:
    """On the CPU: looking would wait for a GPU."""
    with pytest.raises(ValueError, match=r"targets must lie in \[0, 1\], got"):
        gn.sigmoid_cross_entropy(numbers(np, 1, 2), np.array([[value, 0.5]]))


SOFTMAXES = [gn.softmax_cross_entropy, gn.kl_divergence]


@pytest.mark.parametrize("op", SOFTMAXES)
@pytest.mark.parametrize("row", [[0.5, 0.4, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, -1.0, 0]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_no_distribution(op: gn.Op, row: Any, dtype: Any, xp: Any) -> None:
    z, q = numbers(xp, 2, 3), xp.asarray(np.array([[1.0, 0.0, 0.0], row], dtype))
    if xp is np:
        with pytest.raises(ValueError, match=rf"^{op.__name__}: .*probabilit.* in row 1"):
            op(z, q)
    else:
        assert np.isnan(op(z, q).item())
    right = xp.asarray(np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], np.float16))
    assert np.isfinite(op(z, right).item())


@pytest.mark.parametrize("op", SOFTMAXES)
def test_a_softmax_over_one_output(op: gn.Op, xp: Any) -> None:
    z = numbers(xp, 4, 1)
    for t in (xp.zeros(4, int), xp.ones((4, 1))):
        if t.ndim == 2 or op is gn.softmax_cross_entropy:
            with pytest.raises(ValueError, match="softmax over one output is 1 whatever the model"):
                op(z, t)


def test_negative_probabilities(xp: Any) -> None:
    """log of one is nan, which `0 log 0 = 0` must not hide."""
    z, q = numbers(xp, 1, 2), xp.asarray(np.array([[1.5, -0.5]]))
    if xp is np:
        with pytest.raises(
            ValueError,
            match=r"^kl_divergence: probability -0.5 in row 0, column 1 .* must be at least 0",
        ):
            gn.kl_divergence(z, q)
    else:
        assert np.isnan(gn.kl_divergence(z, q).item())


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_targets_get_no_gradient_and_that_is_said(xp: Any, op: gn.Op) -> None:
    z = gn.Tensor(numbers(xp, 2, 3), requires_grad=True)
    t = gn.Tensor(soft(xp, 2, 3), requires_grad=True)
    with pytest.raises(RuntimeError, match=rf"'{op.__name__}'.*targets: detach"):
        op(z, t).backward()
    op(z, t.detach()).backward()
    assert z.grad is not None


@pytest.mark.parametrize("op", LOSSES, ids=lambda op: op.__name__)
def test_targets_on_another_device(cp: Any, op: gn.Op) -> None:
    with pytest.raises(gn.DeviceError, match=rf"{op.__name__} got arrays of two devices"):
        op(numbers(cp, 2, 3), soft(np, 2, 3))

"""gpunet.functional: every op against PyTorch's golden values, gradcheck and hand values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import activations, rng
from gpunet import functional as F
from gpunet.backend import to_host
from gpunet.study.gradcheck import gradcheck
from tests.networks import BATCHES, check, golden, numbers, same


def run(op: gn.Op, gy: Any, *arrays: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Output and gradients of an op through the tape."""
    leaves = [gn.Tensor(a, requires_grad=True) for a in arrays]
    y = op(*leaves, **options)
    y.backward(gy)
    return y.data, [leaf.grad for leaf in leaves]


# --- golden values --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", BATCHES)
def test_affine_equals_pytorch(xp: Any, rows: int) -> None:
    g = golden(xp, f"affine/b{rows}")
    y, (dx, dW, db) = run(F.affine, g["gy"], g["x"], g["W"], g["b"])
    for found, wanted in [(y, "y"), (dx, "dx"), (dW, "dW"), (db, "db")]:
        check(found, g[wanted])


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_pytorch(xp: Any, training: bool, rows: int) -> None:
    g = golden(xp, f"batch_norm_{'train' if training else 'eval'}/b{rows}")
    state = {name: g[name].copy() for name in ("running_mean", "running_var")}
    arrays = (g["x"], g["gamma"], g["beta"])
    y, gradients = run(F.batch_norm, g["gy"], *arrays, training=training, **state)
    check(y, g["y"])
    for found, wanted in zip(gradients, ("dx", "dgamma", "dbeta"), strict=True):
        check(found, g[wanted])
    for name, array in state.items():
        check(array, g[name + "_after" if training else name])


# --- affine ---------------------------------------------------------------------------------------


def test_affine_by_hand(xp: Any) -> None:
    x, W, b = (xp.asarray(np.array(v)) for v in ([[1.0, 2.0]], [[3.0], [4.0]], [0.5]))
    y, backward = F.affine.pair(x, W, b)
    same(y, [[11.5]])
    dx, dW, db = (make() for make in backward(xp.asarray(np.array([[2.0]]))))
    same(dx, [[6.0, 8.0]])
    same(dW, [[2.0], [4.0]])
    same(db, [2.0])


AFFINE = {
    "plain": ((5, 3), (3, 4), (4,)),
    "no bias": ((5, 3), (3, 4), None),
    "per model": ((3, 5, 2), (3, 2, 4), (3, 4)),
    "shared W and b": ((3, 5, 2), (2, 4), (4,)),
    "one batch for all models": ((5, 2), (3, 2, 4), (3, 4)),
    "shared b": ((3, 5, 2), (3, 2, 4), (4,)),
    "b per model": ((5, 2), (2, 4), (3, 4)),
    "axes of length 1": ((1, 5, 2), (1, 2, 4), (3, 4)),
    "two leading axes": ((2, 3, 5, 2), (3, 2, 4), (4,)),
    "empty batch": ((0, 3), (3, 4), (4,)),
}


@pytest.mark.parametrize("case", AFFINE)
def test_affine_over_leading_axes(xp: Any, case: str) -> None:
    shapes = AFFINE[case]
    x, W, b = (None if s is None else numbers(xp, *s, seed=k) for k, s in enumerate(shapes))
    bias = 0 if b is None else to_host(b)[..., None, :]
    y = F.affine(x, W) if b is None else F.affine(x, W, b)
    check(y, np.matmul(to_host(x), to_host(W)) + bias)
    assert gradcheck(F.affine, [x, W] if b is None else [x, W, b])


def test_affine_with_models_equals_separate_runs(xp: Any) -> None:
    x, W, b = numbers(xp, 3, 5, 4), numbers(xp, 3, 4, 2, seed=1), numbers(xp, 3, 2, seed=2)
    gy = numbers(xp, 3, 5, 2, seed=3)
    together = run(F.affine, gy, x, W, b)
    apart = [run(F.affine, gy[k], x[k], W[k], b[k]) for k in range(3)]
    check(together[0], np.stack([to_host(y) for y, _ in apart]))
    for place, gradient in enumerate(together[1]):
        check(gradient, np.stack([to_host(gs[place]) for _, gs in apart]))


@pytest.mark.parametrize("dtype", [np.float64, int, bool, np.uint8])
def test_affine_converts_input_to_the_dtype_of_W(xp: Any, dtype: Any) -> None:
    x = xp.asarray(np.array([[0, 1], [1, 1]]).astype(dtype))
    W = xp.asarray(np.array([[1, 2], [3, 4]], np.float32))
    y = F.affine(x, W)
    assert y.dtype == np.float32
    same(y.data, [[3, 4], [4, 6]])


def test_affine_gives_a_float64_input_its_gradient(xp: Any) -> None:
    x, W = numbers(xp, 2, 3), numbers(xp, 3, 4, dtype=np.float32)
    _, (dx, dW) = run(F.affine, numbers(xp, 2, 4, dtype=np.float32), x, W)
    assert (dx.dtype, dW.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 3), (2, 5)), r"\(4, 3\) does not fit W of shape \(2, 5\): 3 features given, 2 exp"),
        (((3,), (3, 5)), r"affine needs an array \(\.\.\., batch, features\), got shape \(3,\)"),
        (((4, 3), (3,)), r"\(4, 3\) does not fit W of shape \(3,\)"),
        (((4, 3), (3, 5), (4,)), r"b of shape \(4,\) does not fit W of shape \(3, 5\)"),
        (((4, 3), (3, 5), (1,)), r"b of shape \(1,\) does not fit W of shape \(3, 5\)"),
        (((4, 3), (3, 5), ()), r"b of shape \(\) does not fit W of shape \(3, 5\)"),
        (((2, 4, 3), (6, 3, 5)), r"\(2, 4, 3\) does not fit W of shape \(6, 3, 5\)"),
        (
            ((2, 4, 3), (3, 5), (7, 5)),
            r"b of shape \(7, 5\) does not fit the product of shape \(2, 4, 5\)",
        ),
    ],
)
def test_affine_shapes_that_do_not_fit(xp: Any, shapes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.affine(*(numbers(xp, *s) for s in shapes))


# --- activations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*activations.__all__, "softmax", "log_softmax", "dropout"])
def test_integers_become_float32(xp: Any, name: str) -> None:
    """A kernel for integers would cut tanh(1) to 0, and numbers scaled by 1 / (1 - p) too."""
    op = getattr(F, name)
    x = xp.asarray(np.array([[-1, 0, 1], [2, 3, 1]]))
    y = op(x)
    assert y.dtype == np.float32
    check(y, op(x.astype(np.float32)).data, rtol=0)


@pytest.mark.parametrize("name", [*activations.__all__, "softmax", "log_softmax"])
def test_nan_comes_out_where_it_went_in(xp: Any, name: str) -> None:
    x = np.zeros((2, 3))
    x[0, 1] = np.nan
    y = to_host(getattr(F, name)(xp.asarray(x)).data)
    assert np.isnan(y[0, 1])
    assert np.isfinite(y[1]).all()


def test_nan_reaches_through_affine_and_batch_norm(xp: Any) -> None:
    x = numbers(xp, 4, 3)
    x[0, 1] = np.nan
    ones = xp.ones(3)
    assert np.isnan(to_host(F.affine(x, numbers(xp, 3, 2)).data)[0]).all()
    y = to_host(F.batch_norm(x, ones, ones).data)
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()


# --- batch_norm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 4, 7, 16, 33])
def test_batch_norm_passes_gradcheck(xp: Any, rows: int) -> None:
    x, gamma, beta = numbers(xp, rows, 3), numbers(xp, 3, seed=1), numbers(xp, 3, seed=2)
    assert gradcheck(F.batch_norm, [x, gamma, beta])
    state = {"running_mean": numbers(xp, 3, seed=3), "running_var": numbers(xp, 3, seed=4) ** 2}

    def evaluate(x: Any, gamma: Any, beta: Any) -> gn.Tensor:
        return F.batch_norm(x, gamma, beta, training=False, **state)

    assert gradcheck(evaluate, [x, gamma, beta])


def test_batch_norm_by_hand(xp: Any) -> None:
    x = xp.asarray(np.array([[1.0], [3.0]]))
    mean, var = xp.zeros(1), xp.ones(1)
    gamma, beta = xp.asarray(np.array([2.0])), xp.asarray(np.array([10.0]))
    y = F.batch_norm(x, gamma, beta, running_mean=mean, running_var=var, eps=0.0)
    check(y, np.array([[8.0], [12.0]]))
    check(mean, np.array([0.2]))  # 0.9 * 0 + 0.1 * 2
    check(var, np.array([1.1]))  # 0.9 * 1 + 0.1 * 2: the unbiased variance of 1 and 3
    y = F.batch_norm(x, gamma, beta, running_mean=mean, running_var=var, training=False, eps=0.0)
    check(y, 10 + 2 * (np.array([[1.0], [3.0]]) - 0.2) / np.sqrt(1.1))
    check(mean, np.array([0.2]))


def test_batch_norm_output_is_normal(xp: Any) -> None:
    x = numbers(xp, 33, 4) * 5 + 100
    y = to_host(F.batch_norm(x, xp.ones(4), xp.zeros(4)).data)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-5)


BATCH_NORM = {
    "shared": ((3, 5, 2), (2,), (2,)),
    "per model": ((3, 5, 2), (3, 2), (3, 2)),
    "one batch for all models": ((5, 2), (3, 2), (3, 2)),
    "mixed": ((3, 5, 2), (3, 2), (2,)),
    "two leading axes": ((2, 3, 4, 2), (3, 2), (2,)),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", BATCH_NORM)
def test_batch_norm_over_leading_axes_passes_gradcheck(xp: Any, case: str, training: bool) -> None:
    x, gamma, beta = (numbers(xp, *s, seed=k) for k, s in enumerate(BATCH_NORM[case]))
    state = {"running_mean": xp.ones(2), "running_var": xp.full(2, 0.5)} if not training else {}

    def norm(x: Any, gamma: Any, beta: Any) -> gn.Tensor:
        return F.batch_norm(x, gamma, beta, training=training, **state)

    assert gradcheck(norm, [x, gamma, beta])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_batch_norm_with_models_equals_separate_runs(xp: Any, shared: bool, training: bool) -> None:
    lead = () if shared else (3,)
    x, gy = numbers(xp, 3, 5, 2), numbers(xp, 3, 5, 2, seed=1)
    gamma, beta = numbers(xp, *lead, 2, seed=2), numbers(xp, *lead, 2, seed=3)
    mean, var = numbers(xp, 3, 2, seed=4), numbers(xp, 3, 2, seed=5) ** 2

    def one(gy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        state = {"running_mean": mean.copy(), "running_var": var.copy()}
        y, gradients = run(F.batch_norm, gy, x, gamma, beta, training=training, **state)
        return [y, *state.values(), *gradients]

    together = one(gy, x, gamma, beta, mean, var)
    apart = [
        one(gy[k], x[k], *(a if shared else a[k] for a in (gamma, beta)), mean[k], var[k])
        for k in range(3)
    ]
    for place, found in enumerate(together):
        each = np.stack([to_host(values[place]) for values in apart])
        check(found, each.sum(0) if shared and place > 3 else each)


@pytest.mark.parametrize("dtype", [np.float64, int, np.uint8])
def test_batch_norm_converts_input_to_the_dtype_of_gamma(xp: Any, dtype: Any) -> None:
    x = xp.asarray(np.array([[0, 1], [2, 4], [5, 5]]).astype(dtype))
    one, zero = xp.ones(2, np.float32), xp.zeros(2, np.float32)
    state = {"running_mean": zero.copy(), "running_var": one.copy()}
    for training in (True, False):
        y = F.batch_norm(x, one, zero, training=training, **state)
        assert y.dtype == np.float32
    assert state["running_var"].dtype == np.float32


BAD_BATCH_NORM = {
    "one row": ((1, 2), (2,), (2,), (2,), "at least 2 rows, got 1"),
    "no row": ((0, 2), (2,), (2,), (2,), "at least 2 rows, got 0"),
    "1-D": ((2,), (2,), (2,), (2,), r"batch_norm needs an array \(\.\.\., batch, features\)"),
    "gamma": ((4, 3), (2,), (2,), (2,), r"\(4, 3\) does not fit gamma of shape \(2,\): 3 feat"),
    "gamma 1": ((4, 3), (1,), (3,), (3,), r"\(4, 3\) does not fit gamma of shape \(1,\)"),
    "gamma 0-D": ((4, 3), (), (3,), (3,), r"\(4, 3\) does not fit gamma of shape \(\)"),
    "beta": ((4, 3), (3,), (2,), (3,), r"\(4, 3\) does not fit beta of shape \(2,\)"),
    "statistics": ((4, 3), (3,), (3,), (2,), r"statistics of shape \(2,\).*\(3,\)"),
    "statistics per model": ((2, 4, 3), (3,), (3,), (3,), r"statistics of shape \(3,\).*\(2, 3\)"),
    "models of beta": ((2, 4, 3), (3,), (5, 3), (2, 3), r"\(2, 4, 3\) does not fit beta.*\(5, 3\)"),
    "models": ((2, 4, 3), (5, 3), (3,), (2, 3), r"\(2, 4, 3\) does not fit gamma.*\(5, 3\)"),
}


@pytest.mark.parametrize("case", BAD_BATCH_NORM)
def test_batch_norm_changes_nothing_on_an_error(xp: Any, case: str) -> None:
    *shapes, message = BAD_BATCH_NORM[case]
    x, gamma, beta, mean = (numbers(xp, *s) for s in shapes)
    before = to_host(mean).copy()
    for var in (mean.copy(), xp.ones_like(mean)):
        with pytest.raises(ValueError, match=message):
            F.batch_norm(x, gamma, beta, running_mean=mean, running_var=var)
        same(mean, before)


def test_batch_norm_with_one_bad_running_statistic(xp: Any) -> None:
    x, one, mean = numbers(xp, 4, 3), xp.ones(3), xp.zeros(3)
    with pytest.raises(ValueError, match=r"statistics of shape \(2,\)"):
        F.batch_norm(x, one, one, running_mean=mean, running_var=xp.ones(2))
    same(mean, np.zeros(3))


def test_batch_norm_in_evaluation(xp: Any) -> None:
    x, one = numbers(xp, 4, 3), xp.ones(3)
    with pytest.raises(ValueError, match="needs running_mean and running_var"):
        F.batch_norm(x, one, one, training=False, running_mean=one)
    with pytest.raises(ValueError, match=r"statistics of shape \(1,\)"):
        F.batch_norm(x, one, one, training=False, running_mean=xp.ones(1), running_var=one)
    with pytest.raises(ValueError, match=r"\(4, 3\) does not fit beta of shape \(2,\)"):
        F.batch_norm(x, one, xp.ones(2), training=False, running_mean=one, running_var=one)
    for rows in (0, 1):
        y = F.batch_norm(x[:rows], one, one, training=False, running_mean=one, running_var=one)
        assert y.shape == (rows, 3)


# --- dropout --------------------------------------------------------------------------------------


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as the paper gives it (Salmon et al., SC 2011), in Python's integers."""
    mask = 2**64 - 1
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (second >> 64) ^ b ^ k0, second & mask, (first >> 64) ^ d ^ k1, first & mask
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return [a, b, c, d]


def kept(shape: tuple[int, ...], p: float, seed: int, step: int) -> Any:
    """The mask by the book: 16 bits an element, lowest first, from words of blocks 1, 2, ..."""
    bits = []
    for j in range(int(np.prod(shape))):
        word = philox([j // 16 + 1, step, 0, 0], [seed, 0])[j // 4 % 4]
        bits.append((word >> (16 * (j % 4))) & 0xFFFF)
    return (np.array(bits) >= round(p * 65536)).reshape(shape)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 3), (2**64 - 1, 2**64 - 1)])
def test_dropout_is_philox(xp: Any, p: float, seed: int, step: int) -> None:
    x = xp.ones((5, 7), np.float32)
    y = F.dropout(x, p=p, seed=seed, step=step)
    wanted = kept((5, 7), p, seed, step) * np.float32(65536 / (65536 - round(p * 65536)))
    assert y.dtype == np.float32
    same(y.data, wanted.astype(np.float32))


def test_dropout_equals_a_stored_mask(xp: Any) -> None:
    """Written down once, so that a later change of the stream shows."""
    y = to_host(F.dropout(xp.ones((3, 12)), p=0.5, seed=20261122, step=7).data)
    rows = ["".join("01"[int(v > 0)] for v in row) for row in y]
    assert rows == GOLDEN_MASK
    assert set(y.ravel()) == {0.0, 2.0}


GOLDEN_MASK = ["100101001101", "110000010001", "000101000011"]


@pytest.mark.parametrize("shape", [(), (7,), (0, 3), (4, 3), (2, 4, 3), (2, 2, 4, 3)], ids=str)
def test_dropout_of_all_shapes(xp: Any, shape: Any) -> None:
    x = numbers(xp, *shape)
    y, (dx,) = run(F.dropout, xp.ones_like(x), x, p=0.5, seed=3)
    mask = np.broadcast_to(kept(shape[-2:], 0.5, 3, 0), shape)
    check(y, to_host(x) * mask * 2)
    check(dx, mask * 2.0)
    assert gradcheck(lambda t: F.dropout(t, p=0.3, seed=5), [x])


def test_dropout_of_a_transposed_array_has_the_same_mask(xp: Any) -> None:
    x = numbers(xp, 4, 3)
    check(F.dropout(x.T.copy().T, seed=1), F.dropout(x, seed=1).data, rtol=0)


def test_dropout_with_models_equals_separate_runs(xp: Any) -> None:
    x, gy = numbers(xp, 3, 5, 4), numbers(xp, 3, 5, 4, seed=1)
    y, (dx,) = run(F.dropout, gy, x, seed=9, step=2)
    for k in range(3):
        one, (gradient,) = run(F.dropout, gy[k], x[k], seed=9, step=2)
        same(y[k], one)
        same(dx[k], gradient)


def test_dropout_at_the_ends(xp: Any) -> None:
    x = numbers(xp, 4, 3)
    for options in ({"p": 0.0}, {"p": 0.5, "training": False}, {"p": 1.0, "training": False}):
        y, (dx,) = run(F.dropout, xp.full((4, 3), 2.0), x, **options)
        same(y, x)
        same(dx, np.full((4, 3), 2.0))
    y, (dx,) = run(F.dropout, xp.ones((4, 3)), x, p=1.0)
    same(y, np.zeros((4, 3)))
    same(dx, np.zeros((4, 3)))


@pytest.mark.parametrize("p", [0, 1e-6, 1e-5, 0.3, 0.99999, 0.999995, 1 - 1e-9])
def test_dropout_scales_by_the_share_that_it_keeps(p: float) -> None:
    share = 1 - rng.threshold(p) / 65536
    assert share * rng.keep_scale(p) == 1
    assert abs(share - (1 - p)) <= (1 / 65536 if p > 0.5 else 0.5 / 65536)
    assert (rng.threshold(1), rng.keep_scale(1)) == (65536, 0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_keeps_the_expectation(xp: Any, p: float) -> None:
    """The share of zeros within 4 standard deviations, and the mean within as many."""
    n = 200 * 100
    y = to_host(F.dropout(xp.ones((200, 100)), p=p, seed=11).data)
    spread = np.sqrt(p * (1 - p) / n)
    assert abs((y == 0).mean() - p) < 4 * spread
    assert abs(y.mean() - 1) < 4 * spread / (1 - p)


def test_dropout_masks_differ_by_seed_and_step(xp: Any) -> None:
    x = xp.ones((8, 16))
    keys = [(0, 0), (1, 0), (0, 1)]
    masks = {to_host(F.dropout(x, seed=seed, step=step).data).tobytes() for seed, step in keys}
    assert len(masks) == len(keys)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), 2])
def test_dropout_with_a_bad_share(xp: Any, p: float) -> None:
    for training in (True, False):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\], got"):
            F.dropout(xp.ones((2, 3)), p=p, training=training)


@pytest.mark.parametrize("name", ["seed", "step"])
@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True])
def test_dropout_with_a_bad_key(xp: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a whole number from 0 to 2\^64 - 1"):
        F.dropout(xp.ones((2, 3)), **{name: value})


# --- softmax --------------------------------------------------------------------------------------


def test_softmax_by_hand(xp: Any) -> None:
    x = xp.asarray(np.log(np.array([[1.0, 2.0, 5.0]])))
    check(F.softmax(x), np.array([[0.125, 0.25, 0.625]]))
    check(F.log_softmax(x), np.log([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 4), (3, 1)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_passes_gradcheck(xp: Any, name: str, shape: Any) -> None:
    assert gradcheck(getattr(F, name), [numbers(xp, *shape)])


def test_softmax_never_overflows(xp: Any) -> None:
    x = xp.asarray(np.array([[1e4, -1e4, 0.0], [-np.inf, 3.0, 3.0]], np.float32))
    same(F.softmax(x).data, [[1, 0, 0], [0, 0.5, 0.5]])
    assert F.log_softmax(x).dtype == np.float32
    same(F.log_softmax(x).data[0], [0, -2e4, -1e4])


# --- all of them ----------------------------------------------------------------------------------

OPS: dict[str, Callable[[Any], tuple[gn.Op, list[Any], dict[str, Any]]]] = {
    "affine": lambda xp: (F.affine, [(4, 3), (3, 2), (2,)], {}),
    **{n: lambda xp, n=n: (getattr(F, n), [(4, 3)], {}) for n in activations.__all__},
    "batch_norm": lambda xp: (F.batch_norm, [(4, 3), (3,), (3,)], {}),
    "dropout": lambda xp: (F.dropout, [(4, 3)], {}),
    "softmax": lambda xp: (F.softmax, [(4, 3)], {}),
    "log_softmax": lambda xp: (F.log_softmax, [(4, 3)], {}),
}


@pytest.mark.parametrize("name", OPS)
def test_float32_stays_float32_and_inputs_stay_as_they_are(xp: Any, name: str) -> None:
    op, shapes, options = OPS[name](xp)
    arrays = [numbers(xp, *s, seed=k, dtype=np.float32) for k, s in enumerate(shapes)]
    copies = [to_host(a).copy() for a in arrays]
    y = op(*arrays, **options)
    gy = xp.ones_like(y.data)
    y, gradients = run(op, gy, *arrays, **options)
    assert {a.dtype for a in [y, *gradients]} == {np.dtype(np.float32)}
    for array, copied in zip(arrays, copies, strict=True):
        same(array, copied)
    same(gy, np.ones(gy.shape))


@pytest.mark.parametrize("name", OPS)
def test_strided_arrays_give_the_same(xp: Any, name: str) -> None:
    """Views with gaps and of Fortran order, as slicing and transposing make them."""
    op, shapes, options = OPS[name](xp)
    arrays = [numbers(xp, *s, seed=k) for k, s in enumerate(shapes)]
    strided = [xp.repeat(a, 2, axis=-1)[..., ::2].T.copy().T for a in arrays]
    gy = numbers(xp, *op(*arrays, **options).shape, seed=9)
    y, gradients = run(op, gy, *arrays, **options)
    found, others = run(op, gy.T.copy().T, *strided, **options)
    check(found, y)
    for a, b in zip(others, gradients, strict=True):
        check(a, b)


@pytest.mark.parametrize("name", ["affine", "batch_norm"])
def test_ops_with_arrays_of_two_devices(cp: Any, name: str) -> None:
    op, shapes, options = OPS[name](cp)
    arrays = [numbers(np if k else cp, *s, seed=k) for k, s in enumerate(shapes)]
    with pytest.raises(gn.DeviceError, match=rf"{name} got arrays of two devices"):
        op(*arrays, **options)
    mean = np.zeros(3)
    with pytest.raises(gn.DeviceError, match="batch_norm got arrays of two devices"):
        F.batch_norm(
            *(cp.asarray(a) for a in (np.ones((4, 3)), mean, mean)),
            running_mean=mean,
            running_var=np.ones(3),
        )
    assert not mean.any()


# --- complex numbers ------------------------------------------------------------------------------

TAKES: dict[str, Any] = {
    "affine": lambda x: F.affine(x, np.ones((3, 2), np.float32)),
    "batch_norm": lambda x: F.batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32)),
    **{name: getattr(F, name) for name in activations.__all__},
    "rescale": lambda x: F.rescale(x, scale=0.5),
    "dropout": F.dropout,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
}


@pytest.mark.parametrize("name", TAKES)
def test_complex_input_is_refused(name: str) -> None:
    """Not cut to its real part."""
    with pytest.raises(TypeError, match=r"must hold numbers, got dtype complex128; take its real"):
        TAKES[name](np.ones((4, 3), complex))

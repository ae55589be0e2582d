"""gpunet.loss: what a training asks of a loss: hits, checks, weights, shares and means."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_host
from gpunet.loss import FunctionLoss, as_loss
from gpunet.losses import labels
from gpunet.study.gradcheck import gradcheck
from tests.networks import check, numbers, same


def own(z: Any, t: Any) -> gn.Tensor:
    return gn.softmax_cross_entropy(z, t) * 2


PLAIN = [
    gn.SoftmaxWithLoss,
    gn.KLDivergence,
    gn.MeanSquaredError,
    gn.SigmoidWithLoss,
    gn.MeanAbsoluteError,
    gn.Huber,
]


# --- as layers ------------------------------------------------------------------------------------


LOSSES: dict[str, tuple[Callable[[], gn.Layer], str]] = {
    "softmax, labels": (gn.SoftmaxWithLoss, "labels"),
    "softmax, soft": (gn.SoftmaxWithLoss, "soft"),
    "softmax, smoothed": (lambda: gn.SoftmaxWithLoss(label_smoothing=0.1), "labels"),
    "softmax, weights": (lambda: gn.SoftmaxWithLoss(class_weights=[1, 2, 0.5, 1]), "labels"),
    "squared": (gn.MeanSquaredError, "soft"),
    "half squared": (lambda: gn.MeanSquaredError(reduction="half_sum"), "soft"),
    "absolute": (gn.MeanAbsoluteError, "soft"),
    "Huber": (gn.Huber, "soft"),
    "Huber, both parts": (lambda: gn.Huber(delta=0.5), "soft"),
    "KL": (gn.KLDivergence, "soft"),
    "sigmoid": (gn.SigmoidWithLoss, "soft"),
}


def targets(xp: Any, kind: str, rows: int) -> Any:
    rng = np.random.default_rng(7)
    if kind == "labels":
        return xp.asarray(rng.integers(0, 4, rows))
    return xp.asarray(rng.dirichlet(np.ones(4), rows))


@pytest.mark.parametrize("rows", [2, 3, 9, 33])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_passes_gradcheck(xp: Any, name: str, rows: int) -> None:
    make, kind = LOSSES[name]
    loss, t = make(), targets(xp, kind, rows)
    assert gradcheck(lambda z: loss(z, t), [numbers(xp, rows, 4)])


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_hand_equal_the_tape(xp: Any, name: str) -> None:
    make, kind = LOSSES[name]
    loss, t = make(), targets(xp, kind, 5)
    z = gn.Tensor(numbers(xp, 5, 4), requires_grad=True)
    value = loss(z, t)
    value.backward()
    same(loss.forward(z.data, t), value.data)
    same(loss.backward(), z.grad)
    loss.forward(z.data, t)
    check(loss.backward(xp.asarray(np.array(2.0))), 2 * to_host(z.grad))


def test_losses_equal_their_functions(xp: Any) -> None:
    z, t, q = numbers(xp, 5, 4), targets(xp, "labels", 5), targets(xp, "soft", 5)
    weights = xp.asarray(np.array([1, 2, 0.5, 1]))
    pairs = [
        (gn.SoftmaxWithLoss(0.1)(z, t), gn.softmax_cross_entropy(z, t, label_smoothing=0.1)),
        (
            gn.SoftmaxWithLoss(class_weights=[1, 2, 0.5, 1])(z, t),
            gn.softmax_cross_entropy(z, t, class_weights=weights),
        ),
        (gn.MeanSquaredError("half_sum")(z, q), gn.mean_squared_error(z, q, reduction="half_sum")),
        (gn.MeanAbsoluteError()(z, q), gn.mean_absolute_error(z, q)),
        (gn.Huber(0.3)(z, q), gn.huber(z, q, delta=0.3)),
        (gn.KLDivergence()(z, q), gn.kl_divergence(z, q)),
        (gn.SigmoidWithLoss()(z, q), gn.sigmoid_cross_entropy(z, q)),
    ]
    for layer, function in pairs:
        same(layer.data, function.data)


def test_class_weights_follow_the_logits_to_their_device(xp: Any) -> None:
    """A setting, moved once; a copy at each step would be hidden and could not be captured."""
    loss = gn.SoftmaxWithLoss(class_weights=np.array([1, 2, 0.5, 1]))
    z, t = numbers(xp, 5, 4), targets(xp, "labels", 5)
    value = loss(z, t).item()
    (kept,) = loss._placed.values()
    assert device_of(kept) == device_of(z)
    assert loss(z, t).item() == value
    assert next(iter(loss._placed.values())) is kept
    loss.class_weights = np.array([1, 2, 0.5, 4])
    assert loss(z, t).item() != value
    loss.class_weights = np.array([1, 2, 0.5, 1])
    assert loss(to_host(z), to_host(t)).item() == pytest.approx(value)


# --- what a training asks -------------------------------------------------------------------------


def test_class_weights_that_change_after_a_capture(cp: Any) -> None:
    """They are a setting like others: the captured step runs anew with them."""
    model = gn.MLP([3, 4, 3]).to("cuda")
    loss = gn.SoftmaxWithLoss(class_weights=[1, 1, 1])
    captured = gn.capture(gn.Step(model, loss, gn.SGD(model.parameters(), lr=0.0)))
    x, t = cp.asarray(np.random.default_rng(0).random((6, 3), np.float32)), cp.arange(6) % 3
    for weights in ([1, 1, 1], [5, 1, 1], np.array([1, 1, 9])):
        loss.class_weights = weights
        for _ in range(3):
            assert float(captured(x, t)) == pytest.approx(loss(model(x), t).item(), rel=1e-6)


def test_an_op_becomes_the_loss_of_its_name() -> None:
    assert type(as_loss(gn.softmax_cross_entropy)) is gn.SoftmaxWithLoss
    assert type(as_loss(gn.kl_divergence)) is gn.KLDivergence
    assert type(as_loss(gn.mean_squared_error)) is gn.MeanSquaredError
    assert type(as_loss(gn.sigmoid_cross_entropy)) is gn.SigmoidWithLoss
    assert type(as_loss(gn.mean_absolute_error)) is gn.MeanAbsoluteError
    assert type(as_loss(gn.huber)) is gn.Huber
    for make in PLAIN:
        loss = make()
        assert as_loss(loss) is loss


def test_a_function_of_ones_own_is_called_as_it_is() -> None:
    """With the very arrays: it may be no function of Tensors."""
    seen: list[Any] = []
    loss = as_loss(lambda z, t: seen.append((z, t)) or gn.Tensor(0.0))
    assert type(loss) is FunctionLoss
    z, t = gn.Tensor([[1.0, 2.0]]), np.array([1])
    loss(z, t)
    assert seen[0][0] is z
    assert seen[0][1] is t
    with pytest.raises(TypeError, match=r"loss must be a function of .*, got 'mse'"):
        as_loss("mse")  # type: ignore[arg-type]


Z = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 5.0], [4.0, 1.0, 0.0]])
T = np.array([0, 1, 1, 2])  # two right


@pytest.mark.parametrize(
    ("loss", "z", "t", "wanted"),
    [
        (gn.SoftmaxWithLoss(), Z, T, 2),
        (gn.SoftmaxWithLoss(), Z, np.eye(3)[T], 2),
        (gn.KLDivergence(), Z, np.eye(3)[T], 2),
        (as_loss(own), Z, T, 2),
        (as_loss(own), Z, Z, None),
        (as_loss(own), Z[:, :1], T, None),  # one output: numbers, no classes
        (gn.SigmoidWithLoss(), np.array([[1.0], [-1.0], [2.0]]), np.array([1, 1, 1]), 2),
        (gn.SigmoidWithLoss(), Z - 0.5, np.ones((4, 3)), 8 / 3),
        (gn.MeanSquaredError(), Z, Z, None),
        (gn.MeanAbsoluteError(), Z, Z, None),
        (gn.Huber(), Z, Z, None),
    ],
)
def test_hits(xp: Any, loss: gn.Loss, z: Any, t: Any, wanted: float | None) -> None:
    found = loss.hits(xp.asarray(z), xp.asarray(t))
    assert found is None if wanted is None else float(found) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("loss", "t", "message"),
    [
        (gn.SoftmaxWithLoss(), [0, 2, 3], "label 3 in row 12 is out of range: the model has 3 out"),
        (gn.SoftmaxWithLoss(), [0, -2, 3], "label -2 in row 11 is out of range"),
        (gn.SoftmaxWithLoss(), [0.0, 1.0, 2.0], "labels must be integers, got float64"),
        (gn.SoftmaxWithLoss(), [[0, 1, 0], [0, 1.5, -0.5]], "probability -0.5 in row 11, column 2"),
        (gn.KLDivergence(), [[0, 1, 0], [-1, 1.5, 0.5]], "probability -1 in row 11, column 0"),
        (gn.SigmoidWithLoss(), [[0, 1, 0], [0, 1, 1.5]], "target 1.5 in row 11, column 2"),
    ],
)
def test_a_target_that_is_none_is_named_by_its_row(
    xp: Any, loss: gn.Loss, t: Any, message: str
) -> None:
    """On a GPU too: it is asked for before a training."""
    with pytest.raises((ValueError, TypeError), match=message):
        loss.check(xp.asarray(Z), xp.asarray(np.array(t)), first=10)


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, np.inf, "1", None])
def test_a_delta_is_looked_at_whenever_it_is_set(delta: Any) -> None:
    loss = gn.Huber(2)
    for set_it in (lambda: gn.Huber(delta), lambda: setattr(loss, "delta", delta)):
        with pytest.raises(ValueError, match="delta must be above 0 and finite, got"):
            set_it()
    with pytest.raises(ValueError, match="delta must be above 0 and finite, got"):
        gn.huber(Z, Z, delta=delta)
    assert loss.delta == 2.0


def test_a_delta_that_changes_after_a_capture(cp: Any) -> None:
    """It is a setting like others: the captured step runs anew with it."""
    model = gn.MLP([3, 4, 2]).to("cuda")
    loss = gn.Huber()
    captured = gn.capture(gn.Step(model, loss, gn.SGD(model.parameters(), lr=0.0)))
    x = cp.asarray(np.random.default_rng(0).random((6, 3), np.float32))
    t = cp.full((6, 2), 5.0, np.float32)
    for delta in (1.0, 0.25, 8.0):
        loss.delta = delta
        for _ in range(3):
            assert float(captured(x, t)) == pytest.approx(loss(model(x), t).item(), rel=1e-6)


@pytest.mark.parametrize("loss", [gn.SoftmaxWithLoss(), gn.KLDivergence()])
def test_a_softmax_over_one_output_is_refused(xp: Any, loss: gn.Loss) -> None:
    with pytest.raises(ValueError, match=r"a softmax over one output is 1 .* SigmoidWithLoss"):
        loss.check(xp.ones((2, 1)), xp.ones((2, 1)))


def test_what_a_batch_counts(xp: Any) -> None:
    t = xp.asarray(T)
    assert gn.SoftmaxWithLoss().weight(t) == 4
    assert not gn.SoftmaxWithLoss().weighted
    loss = gn.SoftmaxWithLoss(class_weights=[0.5, 1, 4])
    assert loss.weighted
    assert float(loss.weight(t)) == 6.5
    assert loss.weight(xp.asarray(np.eye(3)[T])) == 4  # as softmax_cross_entropy divides


@pytest.mark.parametrize("make", [*PLAIN, lambda: gn.MeanSquaredError("half_sum"), lambda: own])
def test_batches_add_up_to_a_large_one(xp: Any, make: Callable[[], Any]) -> None:
    """shares for the gradient, mean for the value, of batches of 3, 4 and 1 rows."""
    loss = as_loss(make())
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((8, 3)), rng.dirichlet(np.ones(3), 8)
    weights = [3, 4, 1]
    whole = gn.Tensor(xp.asarray(z), requires_grad=True)
    value = loss(whole, xp.asarray(t))
    value.backward()
    parts, values = [], []
    for rows, share in zip(np.split(np.arange(8), [3, 7]), loss.shares(weights), strict=True):
        part = gn.Tensor(xp.asarray(z[rows]), requires_grad=True)
        one = loss(part, xp.asarray(t[rows]))
        one.backward(None if share is None else xp.asarray(share))
        parts.append(to_host(part.grad))
        values.append(one.item())
    np.testing.assert_allclose(np.concatenate(parts), to_host(whole.grad), rtol=1e-12)
    if not loss.sums:
        mean = loss.mean(xp.asarray(np.array(values)), xp.asarray(np.array(weights)))
        assert mean == pytest.approx(value.item(), rel=1e-12)
    assert loss.shares([5]) == [None]


def test_a_batch_of_weight_zero_teaches_nothing(xp: Any) -> None:
    loss = gn.SoftmaxWithLoss(class_weights=[1.0, 0.0])
    z = gn.Tensor(xp.zeros((2, 2)), requires_grad=True)
    value = loss(z, xp.asarray(np.array([1, 1])))
    value.backward()
    assert value.item() == 0
    assert not to_host(z.grad).any()
    x, t = np.ones((8, 3), np.float32), np.array([0, 1, 1, 1, 1, 1, 1, 1])
    for accumulate in (1, 2):
        model = gn.MLP([3, 2])
        trainer = gn.Trainer(model, loss, gn.SGD(model.parameters(), lr=0.1), progress=False)
        row = trainer.fit((x, t), epochs=1, batch_size=2, seed=None, accumulate=accumulate).rows[0]
        assert np.isfinite(row["train_loss"])


# --- labels ---------------------------------------------------------------------------------------

KINDS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2", ">i4", ">i8", ">u4", ">u8"]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_every_integer_type(kind: str) -> None:
    found = labels(np.array([0, 2, 1], kind), (3,), 3)
    assert found.dtype == np.int64
    assert found.dtype.isnative
    assert found.tolist() == [0, 2, 1]
    with pytest.raises(ValueError, match="label 3 in row 1 is out of range"):
        labels(np.array([0, 3, 1], kind), (3,), 3)
    if "i" in kind:
        with pytest.raises(ValueError, match="label -1 in row 2 is out of range"):
            labels(np.array([0, 2, -1], kind), (3,), 3)
    else:
        largest = np.iinfo(kind).max
        with pytest.raises(ValueError, match=r"label .* in row 0 is out of range"):
            labels(np.array([largest, 2, 1], kind), (3,), 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_integer_type_gives_the_same_gradient(kind: str, smoothing: float) -> None:
    z, t = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 2, 1, 1])
    gradients = []
    for given in (t, t.astype(kind)):
        leaf = gn.Tensor(z, requires_grad=True)
        gn.softmax_cross_entropy(leaf, given, label_smoothing=smoothing).backward()
        gradients.append(leaf.grad)
    np.testing.assert_array_equal(*gradients)


def test_on_a_gpu_only_those_who_wait_see_the_values(xp: Any) -> None:
    bad = xp.asarray(np.array([0, 5]))
    if xp is not np:
        assert labels(bad, (2,), 3) is bad
    with pytest.raises(ValueError, match="label 5 in row 8 is out of range"):
        labels(bad, (2,), 3, first=7, wait=True)


# --- complex numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op",
    [
        gn.softmax_cross_entropy,
        gn.kl_divergence,
        gn.mean_squared_error,
        gn.mean_absolute_error,
        gn.huber,
        gn.sigmoid_cross_entropy,
    ],
)
@pytest.mark.parametrize("where", ["prediction", "target"])
def test_complex_numbers_are_refused(xp: Any, op: gn.Op, where: str) -> None:
    """Not cut to their real part: the same error for a Tensor and for a plain array."""
    z, t = xp.asarray(Z), xp.asarray(np.eye(3)[T])
    given = (z + 0j, t) if where == "prediction" else (z, t + 0j)
    with pytest.raises(TypeError, match="must hold numbers, got dtype complex128; take its real"):
        op(*given)


def test_class_weights_as_a_dict() -> None:
    assert gn.SoftmaxWithLoss(class_weights={1: 3, 0: 2.0}).class_weights == (2.0, 3.0)
    for wrong in ({1: 1.0, 2: 2.0}, {"a": 1.0}, {}, {0: -1.0}):
        with pytest.raises(ValueError, match="class_weights"):
            gn.SoftmaxWithLoss(class_weights=wrong)


@pytest.mark.parametrize("kind", [gn.MeanSquaredError, gn.MeanAbsoluteError, gn.Huber])
@pytest.mark.parametrize(
    ("t", "words"),
    [
        (np.arange(20.0)[:, None] * 1e4, "output 0 have the mean 9.5e+04 and the spread"),
        (np.arange(20.0)[:, None] + 2e5, "the mean 2e+05 and the spread 5.766"),
        (np.arange(20.0)[:, None] * 1e-6, "the spread 5.766e-06"),
        (np.stack([np.arange(20.0), 1e4 * np.arange(20)], 1), "output 1 have the mean"),
        (np.arange(20)[:, None] * 10_000, "output 0 have the mean"),
    ],
)
def test_targets_that_no_network_reaches(kind: Any, t: Any, words: str, device: str) -> None:
    model = gn.MLP([1, 4, t.shape[1]]).to(device)
    trainer = gn.Trainer(model, kind(), gn.Adam(model.parameters()), progress=False)
    data = np.arange(20.0, dtype="f4")[:, None], t
    with pytest.raises(ValueError, match=f"^train: targets of .*{re.escape(words)}"):
        trainer.fit(data, epochs=1)
    if t.dtype.kind == "f":
        shift, spread = t.mean(0), t.std(0)
        trainer.fit((data[0], (t - shift) / spread), data, epochs=1)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.0])
def test_constant_targets_are_learned(value: float) -> None:
    model = gn.MLP([1, 4, 1])
    trainer = gn.Trainer(model, gn.MeanSquaredError(), gn.Adam(model.parameters()), progress=False)
    trainer.fit((np.zeros((20, 1), "f4"), np.full((20, 1), value, "f4")), epochs=1)


@pytest.mark.parametrize("make", [gn.Trainer, gn.Step])
@pytest.mark.parametrize(
    ("loss", "optimizer", "words"),
    [
        (gn.SoftmaxWithLoss, None, "loss is the class SoftmaxWithLoss; write SoftmaxWithLoss()"),
        (None, "sgd", "got 'sgd'; write gn.SGD(model.parameters())"),
        (None, "Adam", "write gn.Adam(model.parameters())"),
        (None, gn.Momentum, "write gn.Momentum(model.parameters())"),
        (None, "adm", "got 'adm'; write gn.Adam(model.parameters())"),
        (None, 0.1, "optimizer must be an Optimizer, got 0.1"),
    ],
)
def test_what_to_write(make: Any, loss: Any, optimizer: Any, words: str) -> None:
    model = gn.MLP([1, 4, 2])
    given = optimizer or gn.Adam(model.parameters())
    with pytest.raises(TypeError, match=re.escape(words)):
        make(model, loss or gn.SoftmaxWithLoss(), given)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("loss", [gn.SoftmaxWithLoss, gn.KLDivergence])
def test_one_output_is_refused_by_a_step_too(loss: Any, fuse: bool, xp: Any) -> None:
    model = gn.MLP([2, 4, 1]).to("cpu" if xp is np else "cuda")
    step = gn.Step(model, loss(), gn.SGD(model.parameters()), fuse=fuse)
    t = xp.zeros(3, int) if loss is gn.SoftmaxWithLoss else xp.ones((3, 1))
    with pytest.raises(ValueError, match="softmax over one output"):
        step(xp.ones((3, 2), np.float32), t)

"""gpunet.weights: a weight of 2 is the row twice, 0 the row left out, for every loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import weights
from gpunet.backend import to_host
from gpunet.loss import as_loss
from gpunet.study.gradcheck import gradcheck
from tests.networks import check, numbers

TIMES = np.array([2, 0, 1, 3, 1, 0])


def binary(z: Any, t: Any) -> gn.Tensor:
    return gn.sigmoid_cross_entropy(z, t)


LOSSES: dict[str, tuple[Any, str]] = {
    "softmax": (gn.SoftmaxWithLoss(), "labels"),
    "smoothed": (gn.SoftmaxWithLoss(label_smoothing=0.2), "labels"),
    "class weights": (gn.SoftmaxWithLoss(class_weights=[0.5, 2, 1, 0]), "labels"),
    "smoothed class weights": (gn.SoftmaxWithLoss(0.2, [0.5, 2, 1, 3]), "labels"),
    "soft targets": (gn.SoftmaxWithLoss(), "soft"),
    "soft targets, class weights": (gn.SoftmaxWithLoss(0.1, [0.5, 2, 1, 3]), "soft"),
    "squared": (gn.MeanSquaredError(), "soft"),
    "half sum": (gn.MeanSquaredError("half_sum"), "soft"),
    "absolute": (gn.MeanAbsoluteError(), "soft"),
    "Huber": (gn.Huber(0.7), "soft"),
    "KL": (gn.KLDivergence(), "soft"),
    "sigmoid": (gn.SigmoidWithLoss(), "soft"),
}


def targets(kind: str) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.integers(0, 4, 6) if kind == "labels" else rng.dirichlet(np.ones(4), 6)


def run(xp: Any, loss: Any, z: Any, t: Any, weight: Any = None) -> tuple[Any, Any]:
    """The loss, and its gradient by z."""
    leaf = gn.Tensor(xp.asarray(z), requires_grad=True)
    value = loss(leaf, xp.asarray(t), weight=None if weight is None else xp.asarray(weight))
    value.backward()
    return to_host(value.data), to_host(leaf.grad)


@pytest.mark.parametrize("name", LOSSES)
def test_a_whole_weight_is_the_row_so_many_times(xp: Any, name: str) -> None:
    loss, kind = LOSSES[name]
    z, t = numbers(np, 6, 4), targets(kind)
    rows = np.repeat(np.arange(6), TIMES)
    value, dz = run(xp, loss, z, t, TIMES)
    wanted, repeated = run(xp, loss, z[rows], t[rows])
    check(value, wanted)
    summed = np.zeros_like(dz)
    np.add.at(summed, rows, repeated)
    check(dz, summed)


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_of_weight_0_is_left_out_whatever_it_holds(xp: Any, name: str) -> None:
    loss, kind = LOSSES[name]
    z, t, weight = numbers(np, 6, 4), targets(kind), np.array([0.3, 0, 1, 2.5, 1, 0])
    value, dz = run(xp, loss, np.where(weight[:, None] == 0, np.nan, z), t, weight)
    kept = weight > 0
    wanted, dk = run(xp, loss, z[kept], t[kept], weight[kept])
    check(value, wanted)
    check(dz[kept], dk)
    assert (dz[~kept] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_weighted_losses_pass_gradcheck(xp: Any, name: str) -> None:
    loss, kind = LOSSES[name]
    t, weight = xp.asarray(targets(kind)), xp.asarray(np.array([0.3, 0, 1, 2.5, 1, 0.1]))
    assert gradcheck(lambda z: loss(z, t, weight=weight), [numbers(xp, 6, 4)])


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "half sum"])
@pytest.mark.parametrize("factor", [1.0, 7.0, 1e-30, 1e200])
def test_only_the_ratio_of_weights_counts_in_a_mean(xp: Any, name: str, factor: float) -> None:
    loss, kind = LOSSES[name]
    z, t = numbers(np, 6, 4), targets(kind)
    for one, two in zip(run(xp, loss, z, t, np.full(6, factor)), run(xp, loss, z, t), strict=True):
        check(one, two)


def test_weights_of_many_rows_in_float16(xp: Any) -> None:
    """Their sum is far beyond float16's range."""
    z, t = numbers(np, 6, 4).astype(np.float16), targets("labels")
    weight = np.array([1e6, 2e6, 1e6, 1e6, 0, 1e6])
    value, dz = run(xp, gn.SoftmaxWithLoss(), z, t, weight)
    wanted, dw = run(xp, gn.SoftmaxWithLoss(), z.astype(float), t, weight)
    np.testing.assert_allclose(value, wanted, rtol=3e-3)
    np.testing.assert_allclose(dz, dw, rtol=3e-2, atol=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_but_zeros_is_a_loss_of_0(xp: Any, name: str) -> None:
    loss, kind = LOSSES[name]
    value, dz = run(xp, loss, numbers(np, 6, 4), targets(kind), np.zeros(6))
    assert value == 0
    assert (dz == 0).all()


def test_several_models(xp: Any) -> None:
    """Weights for all models, or for each its own."""
    z, t = numbers(np, 2, 6, 4), np.stack([targets("labels"), targets("labels")[::-1]])
    own = np.array([[1, 2, 0, 1, 1, 3], [0, 1, 1, 0.5, 2, 1]])
    for loss in (gn.softmax_cross_entropy, gn.mean_squared_error, gn.huber):
        labels = t if loss is gn.softmax_cross_entropy else numbers(np, 2, 6, 4, seed=5)
        for weight in (own, own[0]):
            leaf = gn.Tensor(xp.asarray(z), requires_grad=True)
            found = loss(leaf, xp.asarray(labels), weight=xp.asarray(weight))
            found.backward(xp.ones(2))
            for k in range(2):
                each = weight if weight.ndim == 1 else weight[k]
                value, dz = run(xp, as_loss(loss), z[k], labels[k], each)
                check(to_host(found.data)[k], value)
                check(to_host(leaf.grad)[k], dz)


def test_what_weights_may_be(xp: Any) -> None:
    loss, z, t = gn.MeanSquaredError(), numbers(np, 3, 2), np.ones((3, 2))
    wanted = run(xp, loss, z, t, np.array([1.0, 0, 2]))[0]
    x, y = xp.asarray(z), xp.asarray(t)
    for weight in (xp.asarray([1, 0, 2]), gn.Tensor(xp.asarray([1, 0, 2])), [1, 0, 2]):
        check(to_host(gn.mean_squared_error(x, y, weight=weight).data), wanted)
        if not isinstance(weight, list):  # which a layer makes a NumPy array of
            check(to_host(loss(x, y, weight=weight).data), wanted)
    chosen = run(xp, loss, z, t, np.array([True, False, True]))[0]
    check(chosen, run(xp, loss, z, t, [1, 0, 1])[0])
    flat = run(xp, loss, z[:, 0], t[:, 0], [1, 0, 2])[0]
    check(flat, run(xp, loss, z[:, :1], t[:, :1], [1, 0, 2])[0])


BAD = {
    "negative": ([1.0, -0.5, 1.0], ValueError, r"weight -0.5 in row 1; weights are finite"),
    "infinite": ([1.0, 1.0, np.inf], ValueError, "weight inf in row 2"),
    "nan": ([np.nan, 1.0, 1.0], ValueError, "weight nan in row 0"),
    "short": ([1.0, 1.0], ValueError, r"must have shape \(3,\), one a row, got \(2,\)"),
    "one number": (1.0, ValueError, r"must have shape \(3,\), one a row, got \(\)"),
    "words": (["a", "b", "c"], TypeError, "must hold numbers"),
    "complex": ([1j, 1, 1], TypeError, "must hold numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights(name: str) -> None:
    weight, error, words = BAD[name]
    for loss in (gn.MeanSquaredError(), gn.SoftmaxWithLoss(), gn.KLDivergence()):
        t = np.full((3, 2), 0.5)
        with pytest.raises(error, match=words):
            loss(numbers(np, 3, 2), t, weight=weight)
    with pytest.raises(error, match=words):
        weights.of_data(weight, 3, "weight")


def test_bad_weights_on_a_gpu_make_the_loss_nan(sim: Any) -> None:
    z, t = sim.ones((3, 2)), sim.zeros((3, 2))
    for bad in (-1.0, np.inf, np.nan):
        found = gn.MeanSquaredError()(z, t, weight=sim.asarray([1.0, bad, 1.0]))
        assert np.isnan(found.item())


def test_a_weight_that_wants_a_gradient_is_refused() -> None:
    weight = gn.Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(TypeError, match="'weight' requires a gradient"):
        gn.mean_squared_error(np.ones((3, 1)), np.ones((3, 1)), weight=weight)


def test_a_loss_of_ones_own() -> None:
    def plain(y: Any, t: Any) -> gn.Tensor:
        return ((y - t) * (y - t)).mean()

    def able(y: Any, t: Any, weight: Any = None) -> gn.Tensor:
        return gn.mean_squared_error(y, t, weight=weight)

    class Plain(gn.Loss):
        def call(self, z: gn.Tensor, t: gn.Tensor) -> gn.Tensor:
            return plain(z, t)

    class Able(gn.Loss):
        def call(self, z: gn.Tensor, t: gn.Tensor, weight: Any = None) -> gn.Tensor:
            return able(z, t, weight)

    z, t, weight = numbers(np, 3, 2), np.ones((3, 2)), np.array([1, 0, 3])
    wanted = gn.MeanSquaredError()(z, t, weight=weight).data
    check(as_loss(able)(gn.Tensor(z), t, weight=weight).data, wanted)
    check(Able()(z, t, weight=weight).data, wanted)
    with pytest.raises(TypeError, match=r"no weights of rows; write plain\(z, t, weight=None\)"):
        as_loss(plain)(gn.Tensor(z), t, weight=weight)
    with pytest.raises(TypeError, match=r"write Plain.call\(self, z, t, weight=None\)"):
        Plain()(z, t, weight=weight)


def test_a_buffer_that_is_filled_anew(xp: Any) -> None:
    """Backward uses what the weights were."""
    z, t, weight = xp.asarray(numbers(np, 3, 2)), xp.zeros((3, 2)), xp.asarray([1.0, 0, 2])
    leaf = gn.Tensor(z, requires_grad=True)
    value = gn.MeanSquaredError()(leaf, t, weight=weight)
    weight[...] = 5
    value.backward()
    check(to_host(leaf.grad), run(xp, gn.MeanSquaredError(), z, t, [1.0, 0, 2])[1])


def test_hits_and_counts_of_weighted_rows(xp: Any) -> None:
    z, t = xp.asarray([[2.0, 1], [0, 1], [3, 1]]), xp.asarray([0, 0, 1])
    weight = xp.asarray([2.0, 1, 4])
    assert float(gn.SoftmaxWithLoss().hits(z, t, weight)) == 2
    assert float(gn.SoftmaxWithLoss().weight(t, weight)) == 7
    by_class = gn.SoftmaxWithLoss(class_weights=[1, 0.5])
    assert float(by_class.weight(t, weight)) == 5
    assert float(gn.SigmoidWithLoss().hits(z[:, :1] - 1, t, weight)) == 5
    assert float(as_loss(lambda a, b: a).hits(z, t, weight)) == 2

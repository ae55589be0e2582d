"""gpunet.layers: each layer against PyTorch, by gradcheck, and by what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.context import frozen
from gpunet.study.gradcheck import gradcheck
from tests.networks import (
    BATCHES,
    F64,
    LAYERS,
    check,
    golden,
    numbers,
    random_batch_norm,
    same,
    same_states,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gn.seed(1)


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 9, 33])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_passes_gradcheck(xp: Any, device: str, name: str, rows: int) -> None:
    layer = LAYERS[name]().to(device)
    before = layer.state_dict()
    assert gradcheck(layer, [numbers(xp, rows, 4)])
    same_states(layer.state_dict(), before)


def test_layers_over_leading_axes(xp: Any, device: str) -> None:
    """Shared parameters: (3, batch, features) equals three runs whose gradients add up."""
    x, gy = numbers(xp, 3, 5, 4), numbers(xp, 3, 5, 2, seed=1)
    model = gn.Sequential(
        gn.Affine(4, 6, dtype=F64), random_batch_norm(6), gn.Tanh(), gn.Affine(6, 2, dtype=F64)
    ).to(device)
    norm = model[1]
    assert isinstance(norm, gn.BatchNorm)
    norm.track = False  # the statistics of three batches are three
    y = model.forward(x)
    dx = model.backward(gy)
    together = [to_host(p.grad).copy() for p in model.parameters()]
    model.zero_grad()
    for k in range(3):
        check(y[k], model.forward(x[k]))
        check(dx[k], model.backward(gy[k]))
    for p, gradient in zip(model.parameters(), together, strict=True):
        check(p.grad, gradient)
    norm.track = True
    before = model.state_dict()
    with pytest.raises(ValueError, match="one set for each model is needed"):
        model(x)
    same_states(model.state_dict(), before)


@pytest.mark.parametrize("dtype", [int, np.float16, "floaty", None, complex])
def test_bad_dtypes(dtype: Any) -> None:
    for make in (
        lambda: gn.Affine(2, 3, dtype=dtype),
        lambda: gn.BatchNorm(2, dtype=dtype),
        lambda: gn.MLP([2, 3], dtype=dtype),
    ):
        with pytest.raises(ValueError, match="dtype must be float32 or float64, got"):
            make()


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("f8"), float])
def test_float64_everywhere(xp: Any, device: str, dtype: Any) -> None:
    model = gn.MLP([4, 5, 2], batch_norm=True, dropout=0.5, dtype=dtype).to(device)
    arrays = model.state_dict().values()
    assert {a.dtype for a in arrays} == {np.dtype(np.float64)}
    loss = gn.SoftmaxWithLoss()(model(numbers(xp, 6, 4)), xp.zeros(6, int))
    loss.backward()
    assert loss.dtype == np.float64
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.float64, int, np.uint8, bool])
@pytest.mark.parametrize("first", ["Affine", "BatchNorm"])
def test_other_input_is_converted_to_float32(xp: Any, device: str, first: str, dtype: Any) -> None:
    x = xp.asarray(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]).astype(dtype))
    layer = (gn.Affine(3, 2) if first == "Affine" else gn.BatchNorm(3)).to(device)
    model = gn.Sequential(layer, gn.ReLU())
    y = model(x)
    y.backward(xp.ones(y.shape))
    assert y.dtype == np.float32
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert {b.dtype for _, b in model.named_buffers()} <= {np.dtype(np.float32)}


@pytest.mark.parametrize("make", [lambda: gn.Affine(3, 2), lambda: gn.BatchNorm(3)])
def test_inputs_that_do_not_fit(xp: Any, device: str, make: Any) -> None:
    layer = make().to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r"\(4, 5\) does not fit .*\(3,( 2)?\).*5 feat.*3 exp"):
        layer(numbers(xp, 4, 5))
    with pytest.raises(ValueError, match=r"got shape \(3,\); a single sample is x\[None\]"):
        layer(numbers(xp, 3))
    same_states(layer.state_dict(), before)


BAD_SIZES = [0, -1, 2.0, "3", None, True]


@pytest.mark.parametrize("size", BAD_SIZES)
def test_bad_sizes(size: Any) -> None:
    with pytest.raises(ValueError, match="in_features must be a whole number from 1"):
        gn.Affine(size, 2)
    with pytest.raises(ValueError, match="out_features must be a whole number from 1"):
        gn.Affine(2, size)
    with pytest.raises(ValueError, match="features must be a whole number from 1"):
        gn.BatchNorm(size)
    with pytest.raises(ValueError, match="each of sizes must be a whole number from 1"):
        gn.MLP([2, size, 2])


# --- Affine ---------------------------------------------------------------------------------------


def test_affine_parameters() -> None:
    layer = gn.Affine(3, 5)
    assert layer.W.shape == (3, 5)
    assert layer.b is not None
    assert layer.b.shape == (5,)
    assert layer.W.dtype == layer.b.dtype == np.float32
    assert layer.W.decay
    assert not layer.b.decay
    same(layer.b.data, np.zeros(5))
    assert gn.Affine(3, 5, bias=False).b is None
    assert len(gn.Affine(3, 5, bias=False).parameters()) == 1


@pytest.mark.parametrize("rows", BATCHES)
def test_affine_equals_pytorch(xp: Any, device: str, rows: int) -> None:
    g = golden(xp, f"affine/b{rows}")
    layer = gn.Affine(7, 4, dtype=F64).to(device)
    layer.load_state_dict({"W": g["W"], "b": g["b"]})
    check(layer.forward(g["x"]), g["y"])
    check(layer.backward(g["gy"]), g["dx"])
    check(layer.W.grad, g["dW"])
    check(layer.b.grad, g["db"])


def test_an_initializer_of_ones_own() -> None:
    layer = gn.Affine(2, 3, init=lambda generator, shape: np.full(shape, 2))
    same(layer.W.data, np.full((2, 3), 2.0))
    assert layer.W.dtype == np.float32
    lists = gn.Affine(1, 2, init=lambda generator, shape: [[1, 2]])  # type: ignore[arg-type,return-value]
    same(lists.W.data, [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"init returned shape \(3, 2\).*\(2, 3\)"):
        gn.Affine(2, 3, init=lambda generator, shape: np.ones((3, 2)))


# --- BatchNorm ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batch_norm_equals_pytorch(xp: Any, device: str, mode: str, rows: int) -> None:
    g = golden(xp, f"batch_norm_{mode}/b{rows}")
    layer = gn.BatchNorm(6, dtype=F64).to(device).train(mode == "train")
    layer.load_state_dict({k: g[k] for k in ("gamma", "beta", "running_mean", "running_var")})
    check(layer.forward(g["x"]), g["y"])
    check(layer.backward(g["gy"]), g["dx"])
    check(layer.gamma.grad, g["dgamma"])
    check(layer.beta.grad, g["dbeta"])
    for name in ("running_mean", "running_var"):
        check(getattr(layer, name), g[name + "_after" if mode == "train" else name])


def test_batch_norm_starts_and_moves() -> None:
    layer = gn.BatchNorm(2, momentum=0.5, dtype=F64)
    assert [n for n, _ in layer.named_parameters()] == ["gamma", "beta"]
    assert not any(p.decay for p in layer.parameters())
    same(layer.running_mean, [0, 0])
    same(layer.running_var, [1, 1])
    layer(np.array([[1.0, 0.0], [3.0, 0.0]]))
    check(layer.running_mean, np.array([1.0, 0.0]))
    check(layer.running_var, np.array([1.5, 0.5]))


def test_batch_norm_that_does_not_track() -> None:
    layer = gn.BatchNorm(2, dtype=F64)
    before = layer.state_dict()
    x = numbers(np, 4, 2)
    layer.track = False
    y = layer(x)
    same_states(layer.state_dict(), before)
    layer.track = True
    with frozen():
        same(layer(x).data, y.data)
    same_states(layer.state_dict(), before)
    layer(x)
    assert layer.running_mean.any()


@pytest.mark.parametrize("rows", [0, 1])
def test_batch_norm_of_one_row(xp: Any, device: str, rows: int) -> None:
    layer = gn.BatchNorm(3).to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=rf"at least 2 rows, got {rows} .*model\.eval\(\)"):
        layer(numbers(xp, rows, 3))
    same_states(layer.state_dict(), before)
    assert layer.eval()(numbers(xp, rows, 3)).shape == (rows, 3)


# --- Dropout --------------------------------------------------------------------------------------


def test_dropout_draws_another_mask_at_each_training_call(xp: Any) -> None:
    x = xp.ones((8, 16))
    layer, twin = gn.Dropout(0.5, seed=4), gn.Dropout(0.5, seed=4)
    masks = [to_host(layer(x).data) for _ in range(3)]
    assert not np.array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[1], masks[2])
    for mask in masks:
        same(twin(x).data, mask)
    assert not np.array_equal(to_host(gn.Dropout(0.5, seed=5)(x).data), masks[0])
    same(gn.functional.dropout(x, p=0.5, seed=4, step=1).data, masks[1])


def test_dropout_has_one_mask_forward_and_backward(xp: Any) -> None:
    layer = gn.Dropout(0.5)
    y = to_host(layer.forward(xp.ones((8, 16))))
    same(layer.backward(xp.ones((8, 16))), y)
    assert set(y.ravel()) == {0.0, 2.0}


def test_dropout_in_evaluation_is_the_identity(xp: Any) -> None:
    layer = gn.Dropout(0.5).eval()
    x = numbers(xp, 4, 3)
    same(layer(x).data, x)
    assert layer.calls == 0


def test_frozen_dropout_keeps_its_mask(xp: Any) -> None:
    layer, x = gn.Dropout(0.5), xp.ones((8, 16))
    with frozen():
        first = to_host(layer(x).data)
        same(layer(x).data, first)
    same(layer(x).data, first)
    assert layer.calls == 1


def test_dropouts_of_a_network_differ() -> None:
    a, b = gn.Dropout(0.5), gn.Dropout(0.5)
    assert a.seed != b.seed
    gn.seed(1)
    assert gn.Dropout(0.5).seed == a.seed


# --- Rescale --------------------------------------------------------------------------------------


def test_rescale(device: str) -> None:
    layer = gn.Rescale(0.5)
    x = to_device(np.array([[2, 4], [200, 255]], np.uint8), device)
    y = layer(x)
    assert y.dtype == np.float32
    assert y.data.tolist() == [[1, 2], [100, 127.5]]
    inner = gn.Tensor(to_device(np.ones((2, 2)), device), requires_grad=True)
    layer(inner).sum().backward()
    assert inner.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_momentum_1_keeps_the_batchs_own_statistics(fuse: bool, dtype: str, device: str) -> None:
    """Not 1 + (8e-11 - 1), which is 0 in float32."""
    norm = gn.BatchNorm(3, momentum=1.0, dtype=dtype)
    model = gn.Sequential(
        gn.Affine(2, 3, dtype=dtype), norm, gn.ReLU(), gn.Affine(3, 2, dtype=dtype)
    )
    model[0].W.data = np.full((2, 3), 1e-5)
    model.to(device)
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(dtype)
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters(), lr=0.0), fuse=fuse)
    step(gn.to_device(x, device), gn.to_device(np.arange(8) % 2, device))
    z = x.astype(np.float64) @ np.full((2, 3), 1e-5)
    found = gn.to_device(norm.running_var, "cpu"), gn.to_device(norm.running_mean, "cpu")
    assert z.var() < 1e-9
    np.testing.assert_allclose(found[0], z.var(axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(found[1], z.mean(axis=0), rtol=1e-4, atol=1e-12)

"""gpunet.embedding: rows by index, and their gradient in a fixed order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import functional as F
from gpunet.backend import to_device, to_host
from gpunet.study.gradcheck import gradcheck
from gpunet.testing import simgpu
from tests.networks import check, numbers, same


def indices(xp: Any, *shape: int, categories: int = 7, seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).integers(0, categories, shape))


def run(x: Any, W: Any, gy: Any) -> tuple[Any, Any]:
    leaf = gn.Tensor(W, requires_grad=True)
    y = F.embedding(x, leaf)
    y.backward(gy)
    return y.data, leaf.grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (40,), (5, 3), (2, 4, 3), (0,), (0, 3)], ids=str)
def test_by_definition(xp: Any, shape: Any, dtype: str) -> None:
    x, W = indices(xp, *shape), numbers(xp, 7, 4, dtype=dtype)
    gy = numbers(xp, *shape, 4, seed=1, dtype=dtype)
    y, dW = run(x, W, gy)
    assert y.dtype == dW.dtype == dtype
    same(y, to_host(W)[to_host(x)])
    wanted = np.zeros((7, 4), dtype)
    np.add.at(wanted, to_host(x), to_host(gy))
    check(dW, wanted, rtol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("shape", [(6,), (3, 2)], ids=str)
def test_gradcheck(xp: Any, shape: Any) -> None:
    x = indices(xp, *shape)
    assert gradcheck(lambda W: F.embedding(x, W), [numbers(xp, 7, 3)])


def test_every_device_and_run_adds_in_one_order(xp: Any) -> None:
    """Bit for bit from first to last: numbers of many sizes, whose sums tell their order."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, 500)
    gy = (rng.standard_normal((500, 5)) * 10.0 ** rng.integers(-6, 6, (500, 1))).astype(np.float32)
    wanted = np.zeros((3, 5), np.float32)
    for k, row in zip(x, gy, strict=True):
        wanted[k] += row
    for _ in range(2):
        same(run(xp.asarray(x), xp.zeros((3, 5), np.float32), xp.asarray(gy))[1], wanted)


@pytest.mark.parametrize("order", ["reverse", "random"])
def test_no_order_of_threads_changes_a_bit(order: str, sim: Any) -> None:
    x, gy = indices(sim, 700, categories=9), numbers(sim, 700, 3, dtype=np.float32)
    usual = to_host(run(x, sim.zeros((9, 3), np.float32), gy)[1])
    with simgpu.schedule(order, seed=1):
        same(run(x, sim.zeros((9, 3), np.float32), gy)[1], usual)


@pytest.mark.parametrize("kind", ["u1", "i2", "<u4", "u8"])
def test_every_integer_type(xp: Any, kind: str) -> None:
    x, W = indices(xp, 6), numbers(xp, 7, 3)
    same(F.embedding(x.astype(kind), W).data, F.embedding(x, W).data)


def test_strided_arrays(xp: Any) -> None:
    x, W, gy = indices(xp, 6, 4), numbers(xp, 7, 3), numbers(xp, 6, 2, 3, seed=1)
    wide = xp.asarray(np.asfortranarray(to_host(W)))
    plain = run(x[:, ::2].copy(), W, gy)
    strided = run(x[:, ::2], wide, xp.asarray(np.asfortranarray(to_host(gy))))
    for a, b in zip(strided, plain, strict=True):
        same(a, b)


@pytest.mark.parametrize("bad", [-1, 7, 2**40])
def test_an_index_out_of_range(xp: Any, bad: int) -> None:
    x, W = to_host(indices(np, 5, 2)), numbers(xp, 7, 3)
    x[3, 1] = bad
    if xp is np:
        with pytest.raises(ValueError, match=rf"index {bad} in row 3, column 1 .* from 0 to 6"):
            F.embedding(x, W)
        return
    y, dW = run(xp.asarray(x), W, xp.ones((5, 2, 3)))
    assert np.isnan(to_host(y)[3, 1]).all()
    assert np.isnan(to_host(y)).sum() == 3
    assert to_host(dW).sum() == 27


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64"])
def test_what_is_no_index(xp: Any, dtype: str) -> None:
    with pytest.raises(TypeError, match=f"embedding: x must be integers, got {dtype}"):
        F.embedding(xp.ones(3, dtype), numbers(xp, 7, 3))


@pytest.mark.parametrize("shape", [(7,), (2, 7, 3)])
def test_weights_of_another_shape(xp: Any, shape: Any) -> None:
    with pytest.raises(ValueError, match=r"W must be \(categories, features\), got shape"):
        F.embedding(xp.zeros(3, int), numbers(xp, *shape))


# The layer


def test_a_layer_trains_on_every_path(device: str) -> None:
    """Each category gets its class, which its number alone does not tell."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, 400)
    t = rng.integers(0, 3, 50)[x]
    found = []
    for capture in (False, True):
        gn.seed(1)
        model = gn.Sequential(gn.Embedding(50, 8), gn.Affine(8, 3)).to(device)
        step = gn.Step(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters(), lr=0.05))
        assert step.reason is not None
        run = gn.capture(step) if capture else step
        pair = to_device(x, device), to_device(t, device)
        values = [float(run(*pair)) for _ in range(12)]
        assert values[-1] < values[0] / 2
        found.append(values)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_a_trainer_takes_indices(device: str) -> None:
    x = np.arange(60) % 20
    model = gn.Sequential(gn.Embedding(20, 4), gn.Affine(4, 2)).to(device)
    trainer = gn.Trainer(
        model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters(), lr=0.1), progress=False
    )
    history = trainer.fit((x, (x > 9).astype(int)), epochs=6, batch_size=10)
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_a_layer_is_saved_and_described(tmp_path: Any) -> None:
    model = gn.Sequential(gn.Embedding(9, 3, dtype="float64"), gn.Affine(3, 2, dtype="float64"))
    gn.save(model, tmp_path / "m.safetensors")
    again = gn.load(tmp_path / "m.safetensors")
    same(again(np.array([0, 8])).data, model(np.array([0, 8])).data)
    assert repr(gn.Embedding(9, 3)) == "Embedding(categories=9, features=3, dtype='float32')"


def test_how_a_layer_starts() -> None:
    gn.seed(0)
    assert abs(gn.Embedding(500, 40).W.data.std() - 1) < 0.05
    same(gn.Embedding(2, 3, init=lambda g, shape: np.ones(shape)).W.data, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"init returned shape \(3, 2\)"):
        gn.Embedding(2, 3, init=lambda g, shape: np.ones((3, 2)))
    for wrong in (0, -1, 2.0, None):
        with pytest.raises(ValueError, match="categories must be a whole number from 1"):
            gn.Embedding(wrong, 2)
        with pytest.raises(ValueError, match="features must be a whole number from 1"):
            gn.Embedding(2, wrong)

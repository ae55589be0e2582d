"""gpunet.train.snapshot: back to a remembered state, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_host
from gpunet.train.snapshot import Snapshot


def setup(device: str) -> tuple[Any, Any]:
    gn.seed(0)
    model = gn.MLP([3, 4, 2], batch_norm=True, dropout=0.5).to(device)
    return model, gn.Adam(model.parameters(), lr=0.1)


def step(model: Any, optimizer: Any) -> None:
    rng = np.random.default_rng(optimizer.t)
    x = gn.to_device(rng.normal(size=(5, 3)).astype(np.float32), model.device)
    loss = model(x).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def state(model: Any, optimizer: Any) -> list[Any]:
    arrays = [*model.state_dict().values(), *optimizer.buffers()]
    return [*(to_host(a).copy() for a in arrays), model[3].calls, optimizer.t]


def assert_equal(one: list[Any], two: list[Any]) -> None:
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_back_and_the_same_way_again(device: str) -> None:
    model, optimizer = setup(device)
    step(model, optimizer)
    snapshot = Snapshot(model, optimizer)
    start = state(model, optimizer)
    step(model, optimizer)
    end = state(model, optimizer)
    assert all((np.asarray(a) != np.asarray(b)).any() for a, b in zip(start, end, strict=True))
    snapshot.restore()
    assert_equal(state(model, optimizer), start)
    step(model, optimizer)
    assert_equal(state(model, optimizer), end)
    snapshot.restore()  # a second time, for the copies are its own
    assert_equal(state(model, optimizer), start)


def test_take_again(device: str) -> None:
    model, optimizer = setup(device)
    snapshot = Snapshot(model, optimizer)
    step(model, optimizer)
    snapshot.take()
    later = state(model, optimizer)
    step(model, optimizer)
    snapshot.restore()
    assert_equal(state(model, optimizer), later)
    assert all(device_of(copy) == device for copy in snapshot._copies)


def test_without_an_optimizer() -> None:
    model, optimizer = setup("cpu")
    step(model, optimizer)
    snapshot, start = Snapshot(model), state(model, optimizer)
    step(model, optimizer)
    moved = state(model, optimizer)
    snapshot.restore()
    found = state(model, optimizer)
    names = len(model.state_dict())
    assert_equal(found[:names], start[:names])
    assert found[-2] == start[-2]  # the dropout counter
    assert found[-1] == moved[-1]  # the optimizer goes on
    np.testing.assert_array_equal(found[-3], moved[-3])


def test_in_place() -> None:
    """The arena keeps what it has: the optimizer still trains the restored parameters."""
    model, optimizer = setup("cpu")
    arrays = [p.data for p in model.parameters()]
    snapshot = Snapshot(model, optimizer)
    step(model, optimizer)
    snapshot.restore()
    assert all(p.data is a for p, a in zip(model.parameters(), arrays, strict=True))


def test_a_model_that_is_one_layer() -> None:
    dropout = gn.Dropout(0.5)
    snapshot = Snapshot(dropout)
    dropout(np.ones((2, 2)))
    snapshot.restore()
    assert dropout.calls == 0


@pytest.mark.parametrize("optimizer", list(gn.OPTIMIZERS))
def test_every_optimizers_state(optimizer: str) -> None:
    model, _ = setup("cpu")
    kind: Any = gn.OPTIMIZERS[optimizer]
    made = kind(model.parameters())
    step(model, made)
    snapshot = Snapshot(model, made)
    step(model, made)
    step(model, made)
    end = state(model, made)
    snapshot.restore()
    step(model, made)
    step(model, made)
    assert_equal(state(model, made), end)


def test_restored_puts_everything_back(device: str) -> None:
    """Values, optimizer, counters, modes and gradients, also after an error."""
    model, optimizer = setup(device)
    step(model, optimizer)
    model[1].eval()
    before = state(model, optimizer)
    gradients = [to_host(p.grad).copy() for p in model.parameters()]
    modes = [layer.training for layer in model]

    def change() -> None:
        model.train()
        step(model, optimizer)
        model.eval()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Snapshot(model, optimizer).restored():
        change()
    assert_equal(state(model, optimizer), before)
    assert_equal([to_host(p.grad) for p in model.parameters()], gradients)
    assert [layer.training for layer in model] == modes


def test_a_layer_of_ones_own_counts_too() -> None:
    class Counting(gn.Layer):
        counts = ("seen",)

        def __init__(self) -> None:
            self.seen = 0

        def call(self, x: gn.Tensor) -> gn.Tensor:
            self.seen += 1
            return x

    model = gn.Sequential(Counting())
    snapshot = Snapshot(model)
    model(np.ones((2, 3)))
    snapshot.restore()
    assert model[0].seen == 0  # type: ignore[attr-defined]

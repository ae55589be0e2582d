"""gpunet.layer: parameters, state, mode, place, and the interface by hand."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_host
from gpunet.study.gradcheck import gradcheck
from tests.networks import F64, LAYERS, numbers, same, same_states


@pytest.fixture(autouse=True)
def _seeded() -> None:
    gn.seed(1)


# --- what is inside -------------------------------------------------------------------------------


class Block(gn.Layer):
    """A layer of one's own: parameters and layers as attributes, a list of layers too."""

    def __init__(self) -> None:
        self.gain = gn.Parameter(np.ones(4))
        self.first = gn.Affine(4, 4, dtype=F64)
        self.rest = [gn.Affine(4, 4, dtype=F64), gn.BatchNorm(4, dtype=F64)]

    def call(self, x: gn.Tensor) -> gn.Tensor:
        x = self.first(x * self.gain)
        for layer in self.rest:
            x = layer(x)
        return x


def test_a_layer_of_ones_own(xp: Any, device: str) -> None:
    block = Block().to(device)
    names = ["gain", "first.W", "first.b", "rest.0.W", "rest.0.b", "rest.1.gamma", "rest.1.beta"]
    assert [n for n, _ in block.named_parameters()] == names
    assert [n for n, _ in block.named_buffers()] == ["rest.1.running_mean", "rest.1.running_var"]
    assert [n for n, _ in block.named_layers()] == ["first", "rest.0", "rest.1"]
    assert list(block.state_dict()) == [*names, *(n for n, _ in block.named_buffers())]
    assert not block.eval().rest[1].training
    assert block.device == device
    assert gradcheck(block.train(), [numbers(xp, 5, 4)])
    with pytest.raises(NotImplementedError, match=r"Block cannot be described: write config"):
        block.config()
    assert repr(block).startswith("Block(gain: (4,), first.W: (4, 4)")


def test_a_layer_without_call() -> None:
    with pytest.raises(NotImplementedError, match=r"Layer has no call\(self, x\)"):
        gn.Layer()(np.ones(2))


def test_parameters_are_in_order_and_shared_ones_once() -> None:
    a, b = gn.Affine(3, 3), gn.Affine(3, 3)
    model = gn.Sequential(a, gn.ReLU(), b, gn.ReLU(), a)
    parameters = model.parameters()
    assert [id(p) for p in parameters] == [id(p) for p in (a.W, a.b, b.W, b.b)]
    assert [n for n, _ in model.named_parameters()][:2] == ["0.W", "0.b"]
    x = numbers(np, 2, 3, dtype=np.float32)
    model(x).backward(np.ones((2, 3)))
    assert all(p.grad is not None for p in parameters)
    before = model.state_dict()
    model.load_state_dict(before)
    same_states(model.state_dict(), before)


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_by_hand_equals_the_tape(xp: Any, device: str, name: str) -> None:
    by_hand, by_tape = LAYERS[name]().to(device), LAYERS[name]().to(device)
    by_tape.load_state_dict(by_hand.state_dict())
    for layer in (by_hand, by_tape):
        for _, child in [("", layer), *layer.named_layers()]:
            if isinstance(child, gn.Dropout):
                child.seed = 3
    x = gn.Tensor(numbers(xp, 6, 4), requires_grad=True)
    y = by_tape(x)
    gy = numbers(xp, *y.shape, seed=2)
    y.backward(gy)
    out = by_hand.forward(x.data)
    dx = by_hand.backward(gy)
    assert not isinstance(out, gn.Tensor)
    assert not isinstance(dx, gn.Tensor)
    same(out, y.data)
    same(dx, x.grad)
    assert dx is not gy
    for p, q in zip(by_hand.parameters(), by_tape.parameters(), strict=True):
        same(p.grad, q.grad)
    same_states(by_hand.state_dict(), by_tape.state_dict())


def test_by_hand_with_lists_integers_and_tensors() -> None:
    layer = gn.Affine(2, 1)
    layer.W.data = [[1.0], [2.0]]
    same(layer.forward([[1.0, 1.0]]), [[3.0]])
    same(layer.backward(np.ones((1, 1), np.float32)), [[1.0, 2.0]])
    same(layer.forward(gn.Tensor([[1.0, 1.0]])), [[3.0]])
    layer.forward(np.array([[3, 4]]))
    layer.zero_grad()
    assert layer.backward(np.ones((1, 1))) is None  # integers have no gradient
    same(layer.W.grad, [[3.0], [4.0]])


def test_by_hand_backward_needs_a_forward() -> None:
    layer = gn.ReLU()
    with pytest.raises(RuntimeError, match=r"ReLU.backward needs a forward\(x\) before it"):
        layer.backward(np.ones(2))
    layer.forward(np.ones(2))
    layer.backward(np.ones(2))
    with pytest.raises(RuntimeError, match="needs a forward"):
        layer.backward(np.ones(2))
    with gn.no_grad():
        layer.forward(np.ones(2))
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        layer.backward(np.ones(2))


# --- modes and places -----------------------------------------------------------------------------


def test_train_and_eval_reach_everything() -> None:
    model = gn.Sequential(gn.Sequential(gn.Dropout(0.5)), gn.BatchNorm(2))
    assert model.eval() is model
    assert not any(layer.training for _, layer in model.named_layers())
    assert model.train() is model
    assert all(layer.training for _, layer in model.named_layers())


def test_evaluating_restores_every_mode() -> None:
    model = gn.Sequential(gn.BatchNorm(2), gn.Sequential(gn.Dropout(0.5)), gn.ReLU())
    model[0].eval()
    with model.evaluating():
        assert not any(layer.training for _, layer in model.named_layers())
    modes = [layer.training for _, layer in model.named_layers()]
    assert modes == [False, True, True, True]
    assert model.training
    with pytest.raises(ZeroDivisionError), model.evaluating():
        _ = 1 / 0
    assert model.training


def test_to_moves_parameters_and_buffers(device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True)
    assert model.device == "cpu"
    before = {name: to_host(a) for name, a in model.state_dict().items()}
    assert model.to(device) is model
    assert model.device == device
    assert {device_of(a) for a in model.state_dict().values()} == {device}
    same_states(model.state_dict(), before)
    assert {p.device for p in model.to("cpu").parameters()} == {"cpu"}
    assert gn.ReLU().device == "cpu"


@pytest.mark.parametrize("make", [gn.ReLU, lambda: gn.Affine(2, 2)])
def test_to_an_unknown_device(make: Any) -> None:
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'gpu\''):
        make().to("gpu")


def test_a_model_and_an_input_of_two_devices(cp: Any, device: str) -> None:
    model = gn.MLP([2, 3, 1]).to(device)
    with pytest.raises(gn.DeviceError, match=r"affine got arrays of two devices: \(4, 2\) on cpu"):
        model(np.ones((4, 2), np.float32))


# --- saving ---------------------------------------------------------------------------------------


def test_state_dict_names_and_copies(xp: Any, device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    state = model.state_dict()
    assert list(state) == [
        "0.W", "0.b", "1.gamma", "1.beta", "3.W", "3.b", "1.running_mean", "1.running_var",
    ]  # fmt: skip
    assert all(isinstance(a, xp.ndarray) for a in state.values())
    state["0.W"][...] = 9
    state["1.running_var"][...] = 9
    assert 9 not in to_host(model[0].W.data)
    assert 9 not in to_host(model[1].running_var)


@pytest.mark.parametrize("where", ["cpu", "same"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_dict_round_trip(device: str, dtype: Any, where: str) -> None:
    source = gn.MLP([2, 3, 1], batch_norm=True, dtype=dtype).to(device)
    source[1].running_mean += 1
    state = source.state_dict()
    if where == "cpu":
        state = {name: to_host(a) for name, a in state.items()}
    target = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    buffers = [p.data for p in target.parameters()]
    target.load_state_dict(state)
    assert all(p.data is b for p, b in zip(target.parameters(), buffers, strict=True))
    same_states(
        target.state_dict(),
        {n: to_host(a).astype(np.float32) for n, a in source.state_dict().items()},
    )


def test_a_state_of_tensors_and_lists() -> None:
    layer = gn.Affine(1, 2)
    layer.load_state_dict({"W": gn.Tensor([[1.0, 2.0]]), "b": [3.0, 4.0]})
    same(layer.W.data, [[1, 2]])
    same(layer.b.data, [3, 4])


def test_a_state_that_does_not_fit_changes_nothing(device: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True).to(device)
    before = model.state_dict()
    state = {name: a + 1 for name, a in model.state_dict().items()}
    del state["0.b"], state["1.running_mean"]
    state |= {"0.W": np.ones((3, 2)), "7.W": np.ones(2)}
    with pytest.raises(ValueError, match="does not fit the model") as caught:
        model.load_state_dict(state)
    for part in (
        "missing: 0.b",
        "missing: 1.running_mean",
        "unexpected: 7.W",
        "0.W has shape (2, 3), state has (3, 2)",
    ):
        assert part in str(caught.value)
    same_states(model.state_dict(), before)
    with pytest.raises(ValueError, match=r"0\.W has shape"):
        model.load_state_dict(state, strict=False)
    same_states(model.state_dict(), before)
    state["0.W"] = np.array([["a"] * 3] * 2)
    with pytest.raises(ValueError, match=r"0\.W holds <U1"):
        model.load_state_dict(state, strict=False)
    same_states(model.state_dict(), before)


def test_loading_a_part() -> None:
    model = gn.MLP([2, 3, 1])
    before = model.state_dict()
    model.load_state_dict({"0.b": np.full(3, 5.0), "other": np.ones(2)}, strict=False)
    same(model[0].b.data, np.full(3, 5.0))
    same(model[0].W.data, before["0.W"])


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_of_a_model_are_independent(way: str) -> None:
    model = gn.MLP([2, 3, 1], batch_norm=True, dropout=0.5)
    opt = gn.SGD(model.parameters(), lr=0.1)
    x = numbers(np, 4, 2, dtype=np.float32)
    model.forward(x)
    model(x).sum().backward()
    twin = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
    same_states(twin.state_dict(), model.state_dict())
    before = twin.state_dict()
    opt.step()
    same_states(twin.state_dict(), before)
    assert not np.array_equal(twin[0].W.data, model[0].W.data)
    same(twin.eval()(x).data, twin(x).data)

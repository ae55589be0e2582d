"""gpunet.inside: layers and parameters in containers are found, and refused in other places."""

from __future__ import annotations

import copy
import functools
import types
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn


class Net(gn.Layer):
    """Holds `box` and calls what `layers` makes of it, one after another."""

    def __init__(self, box: Any, layers: Callable[[Any], Any]) -> None:
        self.box, self._layers = box, layers

    def call(self, x: gn.Tensor) -> gn.Tensor:
        for layer in self._layers(self.box):
            x = layer(x)
        return x


def parts() -> list[gn.Layer]:
    gn.seed(0)
    return [gn.Affine(4, 5), gn.BatchNorm(5), gn.Dropout(0.5), gn.Affine(5, 3)]


BOXES: dict[str, tuple[Callable[[list[gn.Layer]], Any], Callable[[Any], Any], str]] = {
    "list": (lambda p: p, lambda b: b, "box.3"),
    "tuple": (tuple, lambda b: b, "box.3"),
    "lists": (lambda p: [p[:2], [p[2:]]], lambda b: [*b[0], *b[1][0]], "box.1.0.1"),
    "dict": (lambda p: dict(zip("abcd", p, strict=True)), lambda b: b.values(), "box.d"),
    "ordered": (lambda p: OrderedDict(zip("abcd", p, strict=True)), lambda b: b.values(), "box.d"),
    "dict of lists": (lambda p: {"x": p[:3], 7: (p[3],)}, lambda b: [*b["x"], *b[7]], "box.7.0"),
    "deque": (deque, lambda b: b, "box.3"),
}


@pytest.mark.parametrize("name", BOXES)
def test_layers_in_containers(name: str, device: str) -> None:
    make, order, last = BOXES[name]
    model = Net(make(parts()), order)
    assert f"{last}.W" in model.state_dict()
    assert len(model.parameters()) == 6
    assert len(list(model.named_buffers())) == 2
    model.eval()
    assert not any(layer.training for layer in model.box and order(model.box))
    model.train().to(device)
    x = np.random.default_rng(0).standard_normal((30, 4)).astype("f4")
    t = np.arange(30) % 3
    before = model.state_dict()
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()), progress=False)
    trainer.fit((x, t), epochs=1, batch_size=10)
    assert all((before[k] != v).any() for k, v in model.state_dict().items())
    twin = copy.deepcopy(model)
    twin.load_state_dict(before)
    assert {k: v.tobytes() for k, v in twin.state_dict().items()} == {
        k: v.tobytes() for k, v in before.items()
    }


class Weights(gn.Layer):
    def __init__(self) -> None:
        self.w = {"a": [gn.Parameter(np.ones(3))], "b": gn.Parameter(np.full(3, 2.0))}

    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x * self.w["a"][0] * self.w["b"]  # type: ignore[index]


def test_parameters_in_containers(xp: Any) -> None:
    layer = Weights()
    assert [name for name, _ in layer.named_parameters()] == ["w.a.0", "w.b"]
    layer.to("cpu" if xp is np else "cuda")
    opt = gn.SGD(layer.parameters(), lr=1.0)
    layer(xp.ones((2, 3))).sum().backward()
    opt.step()
    assert [float(p.data[0]) for p in layer.parameters()] == [-3.0, 0.0]


def test_a_captured_step_sees_what_is_put_into_a_list(cp: Any) -> None:
    model = Net(parts()[:1], lambda b: b).to("cuda")
    step = gn.capture(gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters())))
    x, t = cp.ones((6, 4), np.float32), cp.asarray(np.arange(6) % 3)
    for _ in range(3):
        first = float(step(x, t))
    model.box.append(gn.Tanh())
    assert float(step(x, t)) != first


class Thing:
    def __init__(self, layer: Any) -> None:
        self.layer = layer


HIDDEN: dict[str, Callable[[Any], Any]] = {
    "set": lambda k: {k},
    "frozenset in a list": lambda k: [frozenset([k])],
    "object array": lambda k: np.array([k, None], object),
    "namespace": lambda k: types.SimpleNamespace(layer=k),
    "object": Thing,
    "list of objects": lambda k: [Thing([k])],
    "partial": lambda k: functools.partial(k),
    "method": lambda k: k.forward,
    "closure": lambda k: lambda x: k(x),
    "key": lambda k: {k: 1},
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_not_found_is_refused_at_the_first_call(name: str) -> None:
    model = Net(HIDDEN[name](gn.Affine(2, 2)), lambda box: [])
    with pytest.raises(TypeError, match=r"Net.box holds an? Affine in a .*keep layers and param"):
        model(np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"Net.box"):  # again, as nothing has changed
        model(np.ones((2, 2)))


def test_what_is_found_elsewhere_may_be_anywhere() -> None:
    layer = gn.Affine(2, 2)
    model = Net([layer], lambda box: box)
    model.again = {layer}  # type: ignore[attr-defined]
    model.shape, model.names = np.ones(3), ["a", {"b": 1}, None]  # type: ignore[attr-defined]
    model.log = open  # type: ignore[attr-defined]
    assert model(np.ones((2, 2), "f4")).shape == (2, 2)
    assert copy.deepcopy(model)(np.ones((2, 2), "f4")).shape == (2, 2)


class Wide(gn.Sequential):
    def __init__(self) -> None:
        super().__init__(gn.Affine(3, 3), gn.ReLU())
        self.extra = [gn.Affine(3, 3)]


def test_a_sequential_with_more() -> None:
    assert list(Wide().state_dict()) == ["0.W", "0.b", "extra.0.W", "extra.0.b"]


def test_two_arrays_of_one_name() -> None:
    model = Net({1: gn.Affine(2, 2), "1": gn.Affine(2, 2)}, lambda b: b.values())
    with pytest.raises(ValueError, match=r"two arrays of the model are called 'box.1.W'"):
        model.state_dict()


# A layer that is used twice


def test_a_layer_used_twice_is_one_after_loading(tmp_path: Path) -> None:
    a, inner = gn.Affine(3, 3), gn.Dropout(0.3)
    model = gn.Sequential(a, gn.Sequential(inner, a, gn.ReLU()), inner, gn.Affine(3, 3), a)
    gn.save(model, tmp_path / "m")
    again: Any = gn.load(tmp_path / "m")
    assert again[0] is again[4] is again[1][1]
    assert again[2] is again[1][0]
    assert again[3] is not again[0]
    assert len(again.parameters()) == len(model.parameters()) == 4
    gn.save(again, tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()
    step = gn.Step(again, gn.SoftmaxWithLoss(), gn.SGD(again.parameters()))
    step(np.ones((4, 3), "f4"), np.arange(4) % 3)


def test_what_is_not_shared_is_described_as_before() -> None:
    description = gn.Sequential(gn.Affine(2, 2), gn.ReLU(), gn.ReLU()).config()
    assert "shared" not in repr(description)


# Loading a part


def test_what_was_loaded_and_what_not() -> None:
    model, other = gn.MLP([2, 3, 1]), gn.MLP([2, 3, 3, 1])
    state = {"0.W": other.state_dict()["0.W"], "9.W": np.ones(3)}
    found = model.load_state_dict(state, strict=False)
    assert found.missing == ["0.b", "2.W", "2.b"]
    assert found.unexpected == ["9.W"]
    np.testing.assert_array_equal(model.state_dict()["0.W"], state["0.W"])
    assert model.load_state_dict(model.state_dict()) == ([], [])


def test_loading_nothing_warns() -> None:
    model = gn.MLP([2, 3, 1])
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    with pytest.warns(UserWarning, match=r"no name of the state .* such as '0.W'; nothing was"):
        model.load_state_dict(state, strict=False)


# A list of Tensors


@pytest.mark.parametrize("call", [gn.Tensor, gn.functional.relu, gn.ReLU(), gn.functional.softmax])
def test_a_list_of_tensors_would_lose_their_gradients(call: Any) -> None:
    w = gn.Tensor(np.ones(2), requires_grad=True)
    for given in ([w, w], [[w.sum()], [w.sum()]], (w, w)):
        with pytest.raises(TypeError, match="list of Tensors becomes an array without their grad"):
            call(given)
    assert gn.Tensor([w.detach(), w.detach()]).shape == (2, 2)
    with pytest.raises(TypeError, match="list of Tensors"):
        _ = w * [w.sum(), w.sum()]

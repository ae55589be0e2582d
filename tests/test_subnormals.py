"""Updates and fused steps of float32 arrays on the CPU leave no subnormal numbers, as a GPU's do,
and nothing else notices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx, subnormals
from gpunet.optim import native

TINY = np.array([1e-40, -1e-40], np.float32)
DECAYING = {"momentum": "velocity", "nesterov": "velocity", "adam": "m", "lion": "m", "radam": "m"}
pytestmark = pytest.mark.skipif(
    not subnormals.are_flushed(np.float32), reason="not known on this machine"
)


def kept() -> bool:
    """Whether this thread's arithmetic leaves subnormal numbers as they are."""
    return bool((TINY * np.float32(1)).all() and (TINY + TINY).all())


def test_inside_and_outside() -> None:
    with subnormals.flushed(np.float32):
        assert not (TINY * np.float32(1)).any()  # an operand
        assert not (np.full(3, 2e-38, np.float32) * np.float32(0.25)).any()  # a result
        assert np.float32(2e-38) * np.float32(0.75) > 0  # a normal one
        with subnormals.flushed(np.float32):
            assert not kept()
        assert not kept()
    assert kept()


def test_double_keeps_them() -> None:
    assert not subnormals.are_flushed(np.float64)
    with subnormals.flushed(np.float64):
        assert kept()
        assert np.array([1e-310]).sum() > 0


def test_an_error_inside() -> None:
    with pytest.raises(KeyError), subnormals.flushed(np.float32):
        raise KeyError
    assert kept()


def test_other_threads_are_left_alone() -> None:
    found: list[bool] = []
    with subnormals.flushed(np.float32):
        begun = threading.Thread(target=lambda: found.append(kept()))
        own = not kept()
    begun.start()
    begun.join()
    assert own
    assert found == [True]


@pytest.fixture(params=["numpy", "native"])
def updates(request: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """By what updates are made."""
    if request.param == "native" and not cxx.available()[0]:
        pytest.skip(cxx.available()[1])
    monkeypatch.setattr(native, "choice", lambda: request.param)
    return str(request.param)


@pytest.mark.parametrize("name", DECAYING)
def test_what_decays_becomes_0(name: str, updates: str) -> None:
    """As the state of a weight whose input is 0 from here on; it would stay subnormal for good."""
    p = gn.Parameter(np.zeros(50, np.float32))
    optimizer = gn.OPTIMIZERS[name]([p])
    p.grad = np.linspace(1e-30, 1, 50, dtype=np.float32)
    optimizer.step()
    p.grad = np.zeros(50, np.float32)
    for _ in range(2100 if name == "lion" else 1000):  # Lion's beta2 is 0.99
        optimizer.step()
    state = optimizer.state_dict()["state"]
    found = np.concatenate([a.reshape(-1) for a in arrays_named(state, DECAYING[name])])
    least = np.finfo(np.float32).tiny
    assert not ((found != 0) & (np.abs(found) < least)).any()
    assert kept()


def arrays_named(state: Any, name: str) -> list[Any]:
    """The arrays under this name, however deep."""
    if not isinstance(state, dict):
        return []
    own = [np.asarray(state[name])] if name in state else []
    return own + [a for inner in state.values() for a in arrays_named(inner, name)]


def test_a_step_leaves_the_caller_s_arithmetic_alone(compiled_steps: None) -> None:
    model = gn.MLP([20, 16, 4])
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
    x, t = np.ones((8, 20), np.float32), np.arange(8) % 4
    for _ in range(3):
        step(x, t)
        assert kept()


def confident(dtype: Any) -> tuple[gn.Sequential, gn.Step, Any, Any]:
    """A network that is so sure of class 0 that gradients are subnormal, and less of the others."""
    gap = 95 if dtype == np.float32 else 740
    model = gn.Sequential(gn.Affine(4, 4, dtype=dtype))
    model[0].W.data[...] = np.diag([gap, 5, 5, 5])  # type: ignore[attr-defined]
    t = np.arange(64) % 4
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters(), lr=1e-3))
    return model, step, np.eye(4, dtype=dtype)[t], t


def subnormal(gradients: list[Any]) -> bool:
    """Whether one of them is, in one of these arrays."""
    least = np.finfo(gradients[0].dtype).tiny
    return any(((g != 0) & (np.abs(g) < least)).any() for g in gradients)


def test_gradients_of_a_fused_step(compiled_steps: None) -> None:
    """The tape has them, a step has none, in Python (the first) and by script, to the same bits."""
    model, step, x, t = confident(np.float32)
    gn.SoftmaxWithLoss()(model(x), t).backward()
    assert subnormal([p.grad for p in model.parameters()])
    found = []
    for by_script in (False, True):
        model, step, x, t = confident(np.float32)
        if not by_script:
            step._by_script = lambda *_: None  # type: ignore[method-assign]
        for _ in range(3):
            step(x, t)
            assert kept()
        gradients = [p.grad for p in model.parameters()]
        assert any(g.any() for g in gradients)
        assert not subnormal(gradients)
        found.append([a.tobytes() for p in model.parameters() for a in (p.data, p.grad)])
    assert found[0] == found[1]


def test_gradients_in_double_keep_them(compiled_steps: None) -> None:
    model, step, x, t = confident(np.float64)
    for _ in range(3):
        step(x, t)
        assert subnormal([p.grad for p in model.parameters()])


@pytest.mark.parametrize("make", [gn.RProp, partial(gn.Lion, weight_decay=0)])
def test_a_subnormal_gradient_has_no_sign(make: Callable[..., Any], updates: str) -> None:
    """Either moves a weight by its gradient's sign alone."""
    p = gn.Parameter(np.ones(2, np.float32))
    optimizer = make([p])
    p.grad = np.array([1e-40, 1e-36], np.float32)
    optimizer.step()
    assert p.data[0] == 1
    assert p.data[1] < 1

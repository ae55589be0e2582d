"""What a step costs: launches, copies and Python calls do not grow with the number of layers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.optim.rows import ROWS
from tests.optim.cases import REPRESENTATIVES


def parameters(layers: int, device: str, decay: Any = True, dtype: Any = np.float32) -> list[Any]:
    ps = [gn.Parameter(gn.to_device(np.ones((3, 3), dtype), device), decay) for _ in range(layers)]
    for p in ps:
        p.grad = np.ones((3, 3), dtype)
    return ps


@pytest.fixture
def count_updates(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The number of kernel launches that update(...) stands for, on any device."""

    def count(optimizer: Any) -> int:
        calls = []
        kernel = optimizer.kernel
        plain = kernel.update

        def counted(*args: Any) -> None:
            calls.append(args)
            plain(*args)

        with monkeypatch.context() as patch:
            patch.setattr(type(kernel), "update", lambda self, *args: counted(*args))
            optimizer.step()
        return len(calls)

    return count


@pytest.mark.parametrize("layers", [1, 50])
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_one_launch_for_a_whole_model(
    name: str, layers: int, count_updates: Any, device: str
) -> None:
    ps = parameters(layers, device) + parameters(layers, device, decay=False)
    kind = gn.OPTIMIZERS[name]
    assert count_updates(kind(ps, weight_decay=0.0)) == 1
    assert count_updates(kind(ps, weight_decay=0.1)) == 2
    assert count_updates(kind(ps, weight_decay=0.1, decay_all=True)) == 1
    assert count_updates(kind(ps[:layers], weight_decay=0.1)) == 1


def counted_steps(optimizer: Any, steps: int) -> Any:
    from gpunet.testing import simgpu

    optimizer.step()  # compiles, and fills the scalar table for step 1
    optimizer.step()  # fills it for steps 2 to 257
    with simgpu.count() as counters:
        for _ in range(steps):
            optimizer.step()
    return counters


@pytest.mark.parametrize("name", REPRESENTATIVES)
@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"weight_decay": 0.0}, 1),
        ({"weight_decay": 0.1}, 2),
        ({"weight_decay": 0.0, "clip_value": 0.5}, 1),
        ({"weight_decay": 0.0, "clip_norm": 0.5}, 3),
    ],
    ids=["plain", "decay", "clip_value", "clip_norm"],
)
def test_launches_and_copies_on_the_device(name: str, settings: Any, most: int, cupy: Any) -> None:
    ps = parameters(20, "cuda") + parameters(20, "cuda", decay=False)
    counters = counted_steps(gn.OPTIMIZERS[name](ps, **settings), steps=10)
    assert counters.launches == 10 * most
    assert (counters.h2d_copies, counters.d2h_copies, counters.synchronisations) == (0, 0, 0)


def test_the_scalars_travel_once_in_256_steps(cupy: Any) -> None:
    optimizer = gn.Adam(parameters(2, "cuda"), lr=gn.schedules.cosine(0.1, 1000))
    counters = counted_steps(optimizer, steps=ROWS * 2)
    assert counters.h2d_copies == 2
    assert counters.d2h_copies == 0


def test_zeroing_gradients_is_one_fill(cupy: Any) -> None:
    from gpunet.testing import simgpu

    optimizer = gn.Adam(parameters(20, "cuda"))
    with simgpu.count() as counters:
        optimizer.zero_grad()
    assert (counters.memsets, counters.launches) == (1, 0)


def python_calls(optimizer: Any) -> int:
    optimizer.step()
    optimizer.step()
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        optimizer.step()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1, "clip_norm": 1.0}])
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_step_does_not_loop_over_parameters(name: str, settings: Any) -> None:
    few, many = (
        gn.OPTIMIZERS[name](parameters(n, "cpu") + parameters(n, "cpu", False), **settings)
        for n in (1, 100)
    )
    assert python_calls(many) == python_calls(few)


def test_large_buffers_are_updated_in_blocks_that_join(xp: Any) -> None:
    """On the CPU a long buffer is cut into blocks: every element exactly once."""
    p = gn.Parameter(xp.zeros(100_001, np.float32))
    p.grad = xp.ones(100_001, np.float32)
    optimizer = gn.Momentum([p], lr=1.0, momentum=0.5)
    optimizer.step()
    optimizer.step()
    assert (gn.to_device(p.data, "cpu") == -2.5).all()

"""gpunet.arena: one buffer behind all parameters, one behind all gradients."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.arena import Arena, check_parameters
from gpunet.backend import to_host
from tests.optim.cases import REPRESENTATIVES

SHAPES = [(3, 5), (7,), (), (1, 64), (2, 3, 4)]


def parameters(device: str, dtype: Any = np.float32) -> list[gn.Parameter]:
    draw = np.random.default_rng(0)
    made = [draw.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return [gn.Parameter(gn.to_device(np.asarray(a), device)) for a in made]


def address(a: Any) -> int:
    return int(a.ctypes.data if isinstance(a, np.ndarray) else a.data.ptr)


def padding(arena: Arena, buffer: Any) -> Any:
    """What lies between the parameters."""
    free = np.ones(arena.data.size, bool)
    for p, place in arena.places_in(slice(0, arena.data.size)):
        assert place.stop - place.start == p.size
        free[place] = False
    return to_host(buffer)[free]


def test_values_and_gradients_are_carried_over(device: str) -> None:
    ps = parameters(device)
    ps[0].grad = np.full((3, 5), 2, np.float32)
    before = [to_host(p.data).copy() for p in ps]
    Arena([ps[:2], ps[2:]])
    for p, values in zip(ps, before, strict=True):
        np.testing.assert_array_equal(to_host(p.data), values)
        assert (p.data.shape, p.data.dtype) == (values.shape, np.float32)
    assert to_host(ps[0].grad).tolist() == [[2.0] * 5] * 3
    assert to_host(ps[1].grad).tolist() == [0.0] * 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_parameter_starts_on_256_bytes(device: str, dtype: Any) -> None:
    ps = parameters(device, dtype)
    arena = Arena([ps])
    for p in ps:
        assert address(p.data) % 256 == 0
        assert address(p.grad) % 256 == 0
    used = sum(-(-p.data.nbytes // 256) * 256 for p in ps)
    assert (arena.data.nbytes, arena.grad.nbytes) == (used, used)


def test_data_and_grad_are_views(device: str) -> None:
    ps = parameters(device)
    arena = Arena([ps])
    arena.data.fill(3)
    arena.grad.fill(4)
    for p in ps:
        assert set(to_host(p.data).reshape(-1).tolist()) == {3.0}
        assert set(to_host(p.grad).reshape(-1).tolist()) == {4.0}


def test_assignment_copies_in_and_keeps_the_views(device: str) -> None:
    ps = parameters(device)
    arena = Arena([ps])
    views = [(address(p.data), address(p.grad)) for p in ps]
    given = np.full((7,), 9, np.float32)
    ps[1].data = given
    ps[1].grad = given * 2
    given[:] = 0
    assert to_host(ps[1].data).tolist() == [9.0] * 7
    assert to_host(ps[1].grad).tolist() == [18.0] * 7
    ps[1].grad = None
    assert to_host(ps[1].grad).tolist() == [0.0] * 7
    assert [(address(p.data), address(p.grad)) for p in ps] == views
    with pytest.raises(ValueError, match=r"\(7,\), got \(8,\)"):
        ps[1].data = np.zeros(8, np.float32)
    assert not padding(arena, arena.data).any()


def test_zero_grad_is_one_fill(device: str) -> None:
    ps = parameters(device)
    arena = Arena([ps])
    arena.grad.fill(1)
    arena.zero_grad()
    assert not to_host(arena.grad).any()
    assert not any(to_host(p.grad).any() for p in ps)


def test_segments_lie_in_order_and_end_on_the_alignment(device: str) -> None:
    ps = parameters(device)
    arena = Arena([ps[:2], [], ps[2:]])
    assert arena.ranges == [slice(0, 128), slice(128, 128), slice(128, 320)]
    places = arena.places_in(arena.ranges[2])
    assert [p for p, _ in places] == ps[2:]
    assert [place for _, place in places] == [slice(0, 1), slice(64, 128), slice(128, 152)]


def test_state_arrays_are_zeroed_and_as_long(device: str) -> None:
    arena = Arena([parameters(device)])
    state = arena.like("velocity")
    assert (state.shape, state.dtype) == (arena.data.shape, arena.dtype)
    assert address(state) % 256 == 0
    assert not to_host(state).any()


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_padding_stays_zero_under_an_optimizer(name: str, device: str) -> None:
    ps = parameters(device)
    optimizer = gn.OPTIMIZERS[name](ps, weight_decay=0.1, decay_all=True, clip_norm=1.0)
    draw = np.random.default_rng(1)
    for _ in range(5):
        for p in ps:
            p.grad = draw.standard_normal(p.shape).astype(np.float32)
        optimizer.step()
    (arena,) = optimizer.arenas
    assert padding(arena, arena.data).tolist() == [0.0] * (64 * 5 - 111)
    assert not padding(arena, arena.grad).any()


def test_a_second_arena_takes_the_values_and_marks_the_first(device: str) -> None:
    ps = parameters(device)
    first = Arena([ps])
    values = to_host(ps[0].data).copy()
    second = Arena([ps[:1]])
    np.testing.assert_array_equal(to_host(ps[0].data), values)
    assert "another optimizer" in str(first.stale)
    assert second.stale is None


def test_memory_goes_with_the_last_reference(device: str) -> None:
    """On a GPU a dropped model must give its memory back at once, not at some later collection."""
    optimizer = gn.Adam(parameters(device))
    optimizer.step()
    arena = weakref.ref(optimizer.arenas[0])
    gc.disable()
    try:
        del optimizer
        assert arena() is None
    finally:
        gc.enable()


def test_parameters_are_checked() -> None:
    p = gn.Parameter(np.zeros(3, np.float32))
    assert check_parameters([p]) == [p]
    with pytest.raises(TypeError, match=r"parameter 1 is a ndarray.*model\.parameters\(\)"):
        check_parameters([p, np.zeros(3)])
    with pytest.raises(ValueError, match=r"parameter 1 \(shape \(3,\)\) is given twice"):
        check_parameters([p, p])

"""gpunet.parameter: assignment copies, arenas, moving, copying and pickling."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.arena import Arena
from gpunet.backend import to_host


def parameter(xp: Any, values: Any = (1.0, 2.0), dtype: Any = np.float32) -> gn.Parameter:
    return gn.Parameter(xp.asarray(np.array(values, dtype)))


def check(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(to_host(found), wanted)


def test_it_is_a_leaf_with_a_copy_of_its_values(xp: Any) -> None:
    values = xp.asarray(np.ones((2, 3), np.float32).T)
    p = gn.Parameter(values)
    values[...] = 9
    check(p.data, np.ones((3, 2)))
    assert p.data.flags.c_contiguous
    assert p.requires_grad
    assert p.is_leaf
    assert p.decay
    assert p.grad is None
    assert not gn.Parameter(values, decay=False).decay
    check(gn.Parameter(gn.Tensor(values)).data, values if xp is np else to_host(values))


@pytest.mark.parametrize("dtype", [int, bool, np.float16])
def test_it_is_float32_or_float64(xp: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match=f"float32 or float64, got {np.dtype(dtype)}"):
        gn.Parameter(xp.asarray(np.ones(2, dtype)))


@pytest.mark.parametrize("arena", [False, True])
def test_assigning_copies_into_the_same_memory(xp: Any, arena: bool) -> None:
    p = parameter(xp)
    if arena:
        flat = Arena([[p]])
    (p * 3).sum().backward()
    data, grad = p.data, p.grad
    given = xp.asarray(np.array([5.0, 6.0]))  # of another dtype, too
    p.data = given
    p.grad = given
    given[...] = 0
    assert p.data is data
    assert p.grad is grad
    assert p.dtype == np.float32
    check(data, [5.0, 6.0])
    check(grad, [5.0, 6.0])
    if arena:
        check(flat.data[:2], [5.0, 6.0])
        check(flat.grad[:2], [5.0, 6.0])


def test_lists_and_numpy_arrays_can_be_assigned_on_every_device(xp: Any, device: str) -> None:
    """An assignment says where to; only operations refuse arrays of two devices."""
    p = parameter(xp)
    p.data = [3.0, 4.0]
    p.grad = np.array([1.0, 2.0])
    check(p.data, [3.0, 4.0])
    check(p.grad, [1.0, 2.0])
    assert p.device == device
    assert isinstance(p.grad, xp.ndarray)


def test_a_gradient_assigned_first_is_a_copy_even_beside_nan(xp: Any) -> None:
    p = parameter(xp, [np.nan, np.inf])
    given = xp.asarray(np.array([1.0, 2.0], np.float32))
    p.grad = given
    given[...] = 9
    check(p.grad, [1.0, 2.0])


def test_grad_none(xp: Any) -> None:
    """Alone it lets the array go; in an arena there is always one, and it becomes 0."""
    p = parameter(xp)
    (p * 3).sum().backward()
    p.grad = None
    assert p.grad is None
    arena = Arena([[p]])
    (p * 3).sum().backward()
    check(arena.grad[:2], [3.0, 3.0])
    p.grad = None
    check(p.grad, [0.0, 0.0])
    check(arena.grad[:2], [0.0, 0.0])


@pytest.mark.parametrize("arena", [False, True])
@pytest.mark.parametrize("shape", [(3,), (1, 2), ()])
def test_shapes_that_do_not_fit(xp: Any, arena: bool, shape: Any) -> None:
    p = parameter(xp)
    if arena:
        Arena([[p]])
    wrong = xp.asarray(np.ones(shape))
    got = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"data must have shape \(2,\), got {got}"):
        p.data = wrong
    with pytest.raises(ValueError, match=rf"grad must have shape \(2,\), got {got}"):
        p.grad = wrong
    check(p.data, [1.0, 2.0])


def test_backward_writes_into_the_arena(xp: Any) -> None:
    p, q = parameter(xp), parameter(xp, [[3.0]])
    (p * 3).sum().backward()
    arena = Arena([[p, q]])
    check(p.grad, [3.0, 3.0])  # what was there came along
    grad = p.grad
    (p * q).sum().backward()
    assert p.grad is grad
    check(p.grad, [6.0, 6.0])
    check(q.grad, [[3.0]])
    arena.zero_grad()
    check(p.grad, [0.0, 0.0])
    p.data += 1
    assert to_host(arena.data)[:2].tolist() == [2.0, 3.0]


def test_a_second_arena_makes_the_first_stale(xp: Any) -> None:
    p = parameter(xp)
    first = Arena([[p]])
    second = Arena([[p]])
    assert first.stale
    assert second.stale is None
    p.data = [7.0, 8.0]
    check(second.data[:2], [7.0, 8.0])


@pytest.mark.parametrize("arena", [False, True])
@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_are_independent(xp: Any, way: str, arena: bool) -> None:
    p = gn.Parameter(xp.asarray(np.array([1.0, 2.0])), decay=False)
    p.requires_grad = False  # frozen, and so is its twin
    if arena:
        Arena([[p]])
    p.grad = [1.0, 1.0]
    twin = copy.deepcopy(p) if way == "deepcopy" else pickle.loads(pickle.dumps(p))
    assert isinstance(twin, gn.Parameter)
    assert twin.data.flags.owndata or xp is not np
    twin.data[...] = 9
    check(p.data, [1.0, 2.0])
    check(p.grad, [1.0, 1.0])
    assert twin.dtype == np.float64
    assert not twin.decay
    assert not twin.requires_grad
    assert twin.grad is None


def test_a_parameter_of_two_layers_is_copied_once() -> None:
    class Tied(gn.Layer):
        def __init__(self) -> None:
            self.a = gn.Affine(2, 2)
            self.b = gn.Affine(2, 2)
            self.b.W = self.a.W

    twin = copy.deepcopy(Tied())
    assert twin.a.W is twin.b.W
    assert len(twin.parameters()) == 3


def test_to_and_move(xp: Any, device: str) -> None:
    p = gn.Parameter(np.array([1.0, 2.0], np.float32))
    p.grad = [1.0, 1.0]
    arena = Arena([[p]])
    before = p.data
    p.move("cpu")
    assert p.data is before
    assert arena.stale is None
    p.move(device)
    assert p.device == device
    check(p.data, [1.0, 2.0])
    if device == "cuda":
        assert p.grad is None
        assert arena.stale is not None
        assert "moved to cuda" in arena.stale
    assert p.to(device) is p
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        p.move("gpu")

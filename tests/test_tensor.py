"""gpunet.tensor: Tensor itself, and `@op`."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import tensor
from tests.networks import leaf, near

# --- Tensor itself --------------------------------------------------------------------------------


def test_what_a_tensor_holds(xp: Any, device: str) -> None:
    array = xp.asarray(np.ones((2, 3), np.float32))
    x = gn.Tensor(array)
    assert x.data is array
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float32, device)
    assert x.grad is None
    assert not x.requires_grad
    assert x.is_leaf
    assert gn.Tensor(x).data is array
    assert x.detach().data is array
    assert gn.Tensor([1, 2]).shape == (2,)
    assert gn.Tensor(np.float32(2)).shape == ()


def test_numpy_is_a_host_array(xp: Any) -> None:
    x = gn.Tensor(xp.asarray(np.arange(3.0)))
    assert type(x.numpy()) is np.ndarray
    np.testing.assert_array_equal(x.numpy(), [0.0, 1.0, 2.0])
    assert xp is not np or x.numpy() is x.data


def test_numpy_asarray_of_a_tensor() -> None:
    """Plotting and saving call it; without __array__ NumPy would take a Tensor apart by index."""
    x = gn.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert np.asarray(x) is x.data
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.asarray(gn.Tensor(2.5)).item() == 2.5
    copied = np.array(x)
    copied[...] = 9
    assert x.data[0, 0] == 0


def test_no_silent_copy_from_a_gpu(cp: Any) -> None:
    with pytest.raises(TypeError):
        np.asarray(gn.Tensor(cp.asarray(np.ones(3))))


def test_detach_cuts_the_tape(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    (x.detach() * x).sum().backward()
    near(x.grad, [1.0, 2.0])


def test_numbers_out_of_a_tensor(xp: Any) -> None:
    x = gn.Tensor(xp.asarray(np.array(2.5, np.float32)))
    assert x.item() == float(x) == 2.5
    assert bool(x)
    with pytest.raises(ValueError):  # noqa: PT011  NumPy's and CuPy's words differ
        gn.Tensor(xp.asarray(np.ones(2))).item()


def test_repr_is_for_people() -> None:
    x = leaf(np, [1.0, 2.0])
    assert repr(x) == "Tensor(array([1., 2.]), requires_grad=True)"
    assert repr(x * 2) == "Tensor(array([2., 4.]), made by multiply)"
    assert repr(tensor.exp) == "<op exp>"


@pytest.mark.parametrize(
    "value", [np.ones(2, complex), np.array(["a"]), None, np.array([object()])]
)
def test_a_tensor_holds_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match="a Tensor must hold numbers, got dtype"):
        gn.Tensor(value)


@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_gradients_need_floats(xp: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match=f"floating dtype, got {np.dtype(dtype)}"):
        gn.Tensor(xp.asarray(np.ones(2, dtype)), requires_grad=True)


def test_assigning_data_and_grad(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    x.data = xp.asarray(np.array([3.0, 4.0]))
    near(x, [3.0, 4.0])
    x.grad = xp.asarray(np.array([5.0, 6.0]))
    (x * 1).sum().backward()
    near(x.grad, [6.0, 7.0])
    x.grad = None
    assert x.grad is None
    with pytest.raises(ValueError, match=r"data must have shape \(2,\), got \(3,\)"):
        x.data = xp.asarray(np.ones(3))
    with pytest.raises(ValueError, match=r"grad must have shape \(2,\), got \(1, 2\)"):
        x.grad = xp.asarray(np.ones((1, 2)))


def test_assigned_gradients_are_not_written_into(xp: Any) -> None:
    mine = xp.asarray(np.array([5.0, 6.0]))
    x = leaf(xp, [1.0, 2.0])
    x.grad = mine
    (x * 1).sum().backward()
    near(mine, [5.0, 6.0])


@pytest.mark.parametrize("upstream", [np.ones(3), np.ones((1, 2)), 1.0], ids=["3", "1x2", "number"])
def test_an_upstream_gradient_of_another_shape(xp: Any, upstream: Any) -> None:
    upstream = xp.asarray(upstream) if isinstance(upstream, np.ndarray) else upstream
    x = leaf(xp, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"the upstream gradient must have shape \(2,\), got \("):
        (x * 2).backward(upstream)
    assert x.grad is None


def test_backward_of_many_elements_needs_an_upstream_gradient(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(2,\) needs an upstream gradient"):
        (x * 2).backward()
    y = leaf(xp, [[3.0]])
    (y * 2).backward()
    near(y.grad, [[2.0]])


@pytest.mark.parametrize("kind", ["list", "Tensor", "float32", "integer"])
def test_kinds_of_upstream_gradient(xp: Any, kind: str) -> None:
    values = np.array([1.0, 3.0])
    upstream: Any = {
        "list": [1.0, 3.0],
        "Tensor": gn.Tensor(xp.asarray(values)),
        "float32": xp.asarray(values.astype(np.float32)),
        "integer": xp.asarray(values.astype(int)),
    }[kind]
    x = leaf(xp, [1.0, 2.0])
    (x * 2).backward(upstream)
    near(x.grad, [2.0, 6.0])
    assert x.grad.dtype == np.float64


def test_copies_are_independent(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    twin = copy.deepcopy(x)
    twin.data[...] = 9
    (twin * 2).sum().backward()
    near(x, [1.0, 2.0])
    assert x.grad is None
    assert twin.requires_grad


def test_to(xp: Any, device: str) -> None:
    x = leaf(xp, [1.0, 2.0])
    assert x.to(device) is x
    y = x * 2
    assert y.to(device) is y
    there = gn.Tensor(np.ones(2), requires_grad=True).to(device)
    assert there.device == device
    assert there.requires_grad
    assert there.is_leaf
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        x.to("gpu")


def test_moving_an_interior_tensor_is_refused(cp: Any) -> None:
    """A move is not recorded; gradients would stop there without a word."""
    y = leaf(cp, [1.0, 2.0]) * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.to("cpu")
    assert y.detach().to("cpu").device == "cpu"


# --- ops ------------------------------------------------------------------------------------------


@gn.op
def scaled(x: Any, *, by: float = 1.0) -> Any:
    """x * by."""
    return x * by, lambda g: g * by


def test_an_op_of_ones_own(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    y = scaled(x, by=3.0)
    y.sum().backward()
    near(y, [3.0, 6.0])
    near(x.grad, [3.0, 3.0])
    assert scaled.__doc__ == "x * by."
    values, backward = scaled.pair(x.data, by=3.0)
    assert not isinstance(values, gn.Tensor)
    near(backward(values), [9.0, 18.0])


def test_a_tensor_to_be_differentiated_is_positional(xp: Any) -> None:
    """As a keyword it would get no gradient, silently."""
    W = leaf(xp, np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"affine.*'W'.*position"):
        gn.functional.affine(xp.asarray(np.ones((4, 2))), W=W)
    with gn.no_grad():
        assert gn.functional.affine(xp.asarray(np.ones((4, 2))), W=W).shape == (4, 3)


def test_lists_are_arrays(xp: Any) -> None:
    if xp is np:
        near(gn.functional.relu([-1.0, 2.0]), [0.0, 2.0])
        near(gn.Tensor(np.ones(2)) * [1.0, 2.0], [1.0, 2.0])
    else:
        with pytest.raises(gn.DeviceError, match="multiply got arrays of two devices"):
            gn.Tensor(xp.asarray(np.ones(2))) * [1.0, 2.0]


def test_arrays_of_two_devices(cp: Any) -> None:
    here, there = np.ones((2, 3)), gn.Tensor(cp.asarray(np.ones((4, 2))), requires_grad=True)
    message = r"got arrays of two devices: .*on (cpu|cuda).*on (cpu|cuda)"
    for function in (lambda: there @ here, lambda: here + there, lambda: there * here):
        with pytest.raises(gn.DeviceError, match=message):
            function()
    with pytest.raises(gn.DeviceError, match=message):
        there.backward(np.ones((4, 2)))
    with pytest.raises(gn.DeviceError, match=message):
        there.grad = np.ones((4, 2))
    with pytest.raises(gn.DeviceError, match=message):
        there[np.array([0, 1])]
    with pytest.raises(gn.DeviceError, match=message):
        there[:, np.array([0, 1])]
    assert there.grad is None


def test_arrays_of_two_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    class Elsewhere:
        shape, ndim, dtype = (2, 3), 2, np.dtype(np.float32)

    cupy = types.ModuleType("cupy")
    cupy.__dict__["ndarray"] = Elsewhere
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    message = r"multiply got arrays of two devices: \(4,\) on cpu, \(2, 3\) on cuda"
    with pytest.raises(gn.DeviceError, match=message):
        gn.Tensor(np.ones(4)) * Elsewhere()


def test_the_one_number_takes_a_format(xp: Any) -> None:
    loss = gn.Tensor(xp.asarray(np.float32(0.5)))
    assert f"{loss:.3f}" == "0.500"
    assert f"{loss:>8.1%}" == "   50.0%"
    assert f"{loss}" == str(loss)
    with pytest.raises(ValueError, match="format code"):
        f"{loss:y}"

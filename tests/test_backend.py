"""gpunet.backend: where an array lives, moving it, and what is said when it cannot be moved."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import backend


class FakeArray:
    """An array of another device, as far as the checks look."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = np.dtype(np.float32)


def fake_cupy(devices: int) -> types.ModuleType:
    module = types.ModuleType("cupy")
    runtime = types.SimpleNamespace(getDeviceCount=lambda: devices)
    module.__dict__.update(ndarray=FakeArray, cuda=types.SimpleNamespace(runtime=runtime))
    return module


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> FakeArray:
    """A (2, 3) array that lives on a GPU that is not there."""
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(1))
    return FakeArray(2, 3)


def test_array_module_and_device_of(xp: Any, device: str) -> None:
    x = xp.asarray(np.ones(3))
    assert backend.array_module(x) is xp
    assert backend.device_of(x) == device
    assert backend.array_module(np.float32(1)) is np
    for other in (1.0, [1.0], gn.Tensor(x), None):
        assert backend.array_module(other) is None
        with pytest.raises(TypeError, match=type(other).__name__):
            backend.device_of(other)


def test_common_module(xp: Any) -> None:
    x = xp.asarray(np.ones(3))
    assert backend.common_module([x, x], "here") is xp
    assert backend.common_module([], "here") is np


def test_common_module_of_two_devices_names_both(other: FakeArray) -> None:
    with pytest.raises(gn.DeviceError, match=r"here got .*\(4,\) on cpu, \(2, 3\) on cuda"):
        backend.common_module([np.ones(4), other], "here")


def test_moving_keeps_values(xp: Any, device: str) -> None:
    x = np.arange(6.0).reshape(2, 3).T
    there = gn.to_device(x, device)
    assert backend.array_module(there) is xp
    assert gn.to_device(there, device) is there
    np.testing.assert_array_equal(gn.to_device(there, "cpu"), x)
    np.testing.assert_array_equal(backend.to_host(there), x)
    assert backend.array_module(gn.to_device([1.0, 2.0], device)) is xp
    np.testing.assert_array_equal(backend.to_host([1, 2]), [1, 2])


@pytest.mark.parametrize("word", ["gpu", "CPU", "", None])
def test_an_unknown_device(word: Any) -> None:
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        backend.module_for(word)
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        gn.to_device(np.ones(2), word)


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert backend.loaded_cupy() is None
    assert not gn.has_gpu()
    with pytest.raises(gn.DeviceError, match=r"no usable GPU: .*gpunet info"):
        gn.to_device(np.ones(2), "cuda")


def test_cupy_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(0))
    assert not gn.has_gpu()
    with pytest.raises(gn.DeviceError, match="CuPy sees no device"):
        backend.cupy()


def test_a_broken_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime raises errors of its own, at the first call."""

    def fail() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver")

    module = fake_cupy(1)
    module.cuda.runtime.getDeviceCount = fail
    monkeypatch.setitem(sys.modules, "cupy", module)
    with pytest.raises(gn.DeviceError, match="RuntimeError: cudaErrorInsufficientDriver"):
        backend.cupy()


def test_has_gpu(device: str, other: FakeArray) -> None:
    assert gn.has_gpu()


def test_a_half_imported_cupy_is_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))
    assert backend.loaded_cupy() is None
    assert backend.array_module(object()) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 65])
def test_aligned_zeros(xp: Any, dtype: Any, size: int) -> None:
    x = backend.aligned_zeros(xp, size, dtype)
    assert x.shape == (size,)
    assert x.dtype == dtype
    assert not backend.to_host(x).any()
    if xp is np:
        assert size == 0 or x.ctypes.data % backend.ALIGNMENT == 0
        assert x.flags.writeable

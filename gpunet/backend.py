"""Where an array lives: NumPy on the CPU, CuPy on an NVIDIA GPU.

Nothing here imports CuPy until a GPU is asked for. An array tells by its type where it lives, so
there is no global device and no mode to forget; arrays move only when `to_device` is called.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Literal

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray: the two share no base class
Device = Literal["cpu", "cuda"]


class DeviceError(RuntimeError):
    """A GPU was asked for and cannot be used, or arrays of two devices met in one operation."""


def loaded_cupy() -> ModuleType | None:
    """CuPy if somebody has imported it already (no CuPy array can exist otherwise)."""
    module = sys.modules.get("cupy")
    return module if hasattr(module, "ndarray") else None


def array_module(x: Array) -> Any:
    """`numpy` or `cupy` for an array, None for anything else (numbers, lists, Tensors)."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    cupy = loaded_cupy()
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else None


def address(x: Array) -> int:
    """Where its numbers begin."""
    return int(x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr)


def device_of(x: Array) -> Device:
    """ "cpu" or "cuda" for an array; TypeError for anything else."""
    xp = array_module(x)
    if xp is None:
        raise TypeError(f"expected a NumPy or CuPy array, got {type(x).__name__}")
    return "cpu" if xp is np else "cuda"


def common_module(arrays: list[Array], where: str) -> ModuleType:
    """The one module of all `arrays`, numpy for none; DeviceError naming both if there are two."""
    found = {device_of(a): array_module(a) for a in arrays}
    if len(found) > 1:
        places = ", ".join(f"{tuple(a.shape)} on {device_of(a)}" for a in arrays)
        raise DeviceError(
            f"{where} got arrays of two devices: {places}; move them to one with "
            "model.to(...), gpunet.to_device(array, ...) or cupy.asarray"
        )
    return next(iter(found.values()), np)


def check_devices(values: list[Any], name: str) -> None:
    """DeviceError for arrays of two devices. NumPy scalars are numbers, at home everywhere."""
    if any(type(a) is not np.ndarray and array_module(a) is not None for a in values):
        arrays = [a for a in values if not isinstance(a, np.generic)]
        common_module([a for a in arrays if array_module(a) is not None], name)


def need_numbers(array: Array, what: str) -> None:
    """TypeError naming `what` unless it holds real numbers or bools."""
    if array.dtype.kind not in "fiub":
        advice = "; take its real part, or abs" if array.dtype.kind == "c" else ""
        raise TypeError(f"{what} must hold numbers, got dtype {array.dtype}{advice}")


def cupy() -> ModuleType:
    """CuPy with at least one usable GPU, or DeviceError with the reason."""
    try:
        module = importlib.import_module("cupy")
        devices = module.cuda.runtime.getDeviceCount()
    except Exception as error:  # a broken CuPy raises far more than ImportError
        raise DeviceError(
            f"no usable GPU: {type(error).__name__}: {error}; `gpunet info` says what to do"
        ) from error
    if devices < 1:
        raise DeviceError("no usable GPU: CuPy sees no device; `gpunet info` says what to do")
    return module


def has_gpu() -> bool:
    """True if CuPy imports and sees a device. `gpunet info` (gpunet.machine) says why not."""
    try:
        cupy()
    except DeviceError:
        return False
    return True


def module_for(device: str) -> ModuleType:
    """`numpy` for "cpu", `cupy` for "cuda"; ValueError for another word."""
    if device == "cpu":
        return np
    if device == "cuda":
        return cupy()
    raise ValueError(f'device must be "cpu" or "cuda", got {device!r}')


def to_device(x: Array, device: str) -> Array:
    """`x` on `device`: the same array if it is there already, else a copy."""
    target = module_for(device)
    source = array_module(x)
    if source is target:
        return x
    return target.asarray(x) if target is not np else to_host(x)


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """`x` as a NumPy array; waits for the GPU where `x` lives on one."""
    xp = array_module(x)
    return np.asarray(x) if xp is None or xp is np else xp.asnumpy(x)


ALIGNMENT = 256  # bytes: what a coalesced access and every vector load want


def aligned_zeros(xp: ModuleType, size: int, dtype: Any) -> Array:
    """A 1-D array of zeros whose first byte lies on a multiple of ALIGNMENT."""
    dtype = np.dtype(dtype)
    if xp is not np:
        return xp.zeros(size, dtype)  # the CUDA allocators align by 256 bytes or more
    raw = np.zeros(size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size * dtype.itemsize].view(dtype)

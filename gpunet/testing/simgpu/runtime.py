"""The functions of `cupy.cuda.runtime` that a training framework calls, on handles and addresses.

Each keeps to what CUDA allows in a capture; the numbers are CUDA's own.
"""

from __future__ import annotations

import ctypes
from typing import Any

from . import counters, errors, memory, work
from .device import PROPERTIES, Device
from .errors import CUDARuntimeError as CUDARuntimeError
from .segments import check_range, on_device

memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice = range(4)
CONSTANTS: dict[str, Any] = {
    "memcpyHostToHost": memcpyHostToHost,
    "memcpyHostToDevice": memcpyHostToDevice,
    "memcpyDeviceToHost": memcpyDeviceToHost,
    "memcpyDeviceToDevice": memcpyDeviceToDevice,
    "memcpyDefault": 4,
    "streamDefault": 0,
    "streamNonBlocking": 1,
    "streamLegacy": work.STREAM_LEGACY,
    "streamPerThread": work.STREAM_PER_THREAD,
    "streamCaptureModeGlobal": 0,
    "streamCaptureModeThreadLocal": 1,
    "streamCaptureModeRelaxed": 2,
    "streamCaptureStatusNone": 0,
    "streamCaptureStatusActive": 1,
    "streamCaptureStatusInvalidated": 2,
    "eventDefault": 0,
    "eventBlockingSync": 1,
    "eventDisableTiming": 2,
    "eventInterprocess": 4,
    "hostAllocDefault": 0,
    "hostAllocPortable": 1,
    "is_hip": False,
}
_ATTRIBUTES = {  # by CUDA's numbers
    1: PROPERTIES["maxThreadsPerBlock"],
    8: PROPERTIES["sharedMemPerBlock"],
    10: PROPERTIES["warpSize"],
    12: PROPERTIES["regsPerBlock"],
    16: PROPERTIES["multiProcessorCount"],
    75: PROPERTIES["major"],
    76: PROPERTIES["minor"],
    97: PROPERTIES["sharedMemPerBlockOptin"],
}
_VERSION = 13000


def getDeviceCount() -> int:
    return 1


def getDevice() -> int:
    return 0


def setDevice(device: int) -> None:
    if device != 0:
        raise CUDARuntimeError(errors.INVALID_DEVICE)


def getDeviceProperties(device: int) -> dict[str, Any]:
    setDevice(device)
    return dict(PROPERTIES)


def deviceGetAttribute(attrib: int, device: int) -> int:
    setDevice(device)
    if attrib not in _ATTRIBUTES:
        raise NotImplementedError(f"simgpu does not implement device attribute {attrib}")
    return int(_ATTRIBUTES[attrib])


def deviceSynchronize() -> None:
    work.synchronize_device()


def driverGetVersion() -> int:
    return _VERSION


def runtimeGetVersion() -> int:
    return _VERSION


def memGetInfo() -> tuple[int, int]:
    """Free and total bytes of the device."""
    return Device().mem_info


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    """Copy bytes; unlike the copies of arrays this may be captured, from pinned memory too."""
    if size > 0:
        _memcpy(dst, src, size, kind, stream)


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    """Copy bytes on the null stream and wait."""
    if size > 0:
        _memcpy(dst, src, size, kind, 0)
        counters.add("synchronisations")


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:
    if size > 0:
        memory.memset_on(work.state_of_handle(stream), ptr, value, size)


def memset(ptr: int, value: int, size: int) -> None:
    if size > 0:
        memory.memset_on(work.NULL, ptr, value, size)


def streamSynchronize(stream: int) -> None:
    work.synchronize(work.state_of_handle(stream))


def streamQuery(stream: int) -> int:
    """0, for all work is done; CUDA's error number in a capture, which that invalidates."""
    capture = work.state_of_handle(stream).capture
    if capture is None:
        return 0
    capture.invalid = True
    return errors.CAPTURE_UNSUPPORTED


def streamIsCapturing(stream: int) -> bool:
    return work.is_capturing(work.state_of_handle(stream))


def _memcpy(dst: int, src: int, size: int, kind: int, on: int) -> None:
    if kind == CONSTANTS["memcpyDefault"]:
        kind = memcpyDeviceToHost if on_device(src) else memcpyHostToHost
        kind += memcpyHostToDevice if on_device(dst) else 0

    def run() -> None:
        if kind in (memcpyHostToDevice, memcpyDeviceToDevice):
            check_range(dst, size)
        if kind in (memcpyDeviceToHost, memcpyDeviceToDevice):
            check_range(src, size)
        ctypes.memmove(dst, src, size)

    work.submit(work.state_of_handle(on), _KINDS[kind], f"memcpy {size} bytes", run)


_KINDS = {
    memcpyHostToHost: "host",
    memcpyHostToDevice: "h2d",
    memcpyDeviceToHost: "d2h",
    memcpyDeviceToDevice: "memcpy",
}

"""What the simulated driver holds: real memory at real addresses, and which addresses are known."""

from __future__ import annotations

import bisect
import ctypes
import gc
import sys
import threading
import weakref
from typing import Any

import numpy as np

from . import errors, sanitizer
from .errors import CUDARuntimeError

ALIGNMENT = 512
DEVICE_BYTES = 64 << 30


class _Lock:
    """A lock inside which the garbage collector rests: what it frees would come back to the lock's
    owner in the middle of its work."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._collects = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._depth == 0:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._collects:
            gc.enable()
        self._lock.release()


lock = _Lock()  # of all memory: the driver's and the pools'


class Segment:
    """What one cudaMalloc gives: aligned bytes, known to the driver until the object dies.

    NumPy views made of `bytes` outlive the segment, so a stale pointer never crashes the
    process; `check_range` is what tells that it is stale. Raises cudaErrorMemoryAllocation where
    the device has not so many bytes left.
    """

    def __init__(self, size: int) -> None:
        self.size = 0
        if driver_bytes() + size > DEVICE_BYTES:
            raise CUDARuntimeError(errors.MEMORY_ALLOCATION)
        self.bytes = _block_of_its_own(size) if sanitizer.wanted() else _aligned_part(size)
        self.address: int = self.bytes.ctypes.data
        self.size = size
        with lock:
            bisect.insort(_live, (self.address, size))
            _bytes_of[self.address] = self.bytes

    def __del__(self) -> None:
        if self.size == 0 or sys.is_finalizing():
            return
        with lock:
            del _live[bisect.bisect_left(_live, (self.address, self.size))]
            del _bytes_of[self.address]


_live: list[tuple[int, int]] = []
_bytes_of: dict[int, np.ndarray] = {}


def _aligned_part(size: int) -> np.ndarray:
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def _block_of_its_own(size: int) -> np.ndarray:
    """A heap block of exactly this size, so that AddressSanitizer guards both of its ends."""
    libc, address = ctypes.CDLL(None), ctypes.c_void_p()
    status = libc.posix_memalign(
        ctypes.byref(address), ctypes.c_size_t(ALIGNMENT), ctypes.c_size_t(size)
    )
    if status != 0 or address.value is None:
        raise MemoryError(f"no host memory for {size:,} bytes of the simulated GPU")
    block: Any = (ctypes.c_ubyte * size).from_address(address.value)
    weakref.finalize(block, libc.free, address).atexit = False
    made: np.ndarray = np.ndarray((size,), np.uint8, block)
    return made


def all_bytes() -> list[np.ndarray]:
    """The bytes of all segments; who holds them can read stale addresses without a crash."""
    with lock:
        return list(_bytes_of.values())


def driver_bytes() -> int:
    """How many bytes the driver has given."""
    with lock:
        return sum(size for _, size in _live)


def check_range(address: int, size: int) -> None:
    """Raise cudaErrorIllegalAddress unless the bytes lie in memory that the device holds."""
    if size <= 0:
        return
    with lock:
        index = bisect.bisect_right(_live, (address, 1 << 62)) - 1
        if index >= 0 and address + size <= sum(_live[index]):
            return
    raise CUDARuntimeError(errors.ILLEGAL_ADDRESS)


def on_device(address: int) -> bool:
    """Whether the address lies in device memory."""
    try:
        check_range(address, 1)
    except CUDARuntimeError:
        return False
    return True

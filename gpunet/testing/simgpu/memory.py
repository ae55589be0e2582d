"""Blocks of device memory, pointers into them, and copies between addresses.

Every block starts as 0xFF bytes (NaN in floating point), so an output that a kernel leaves
unwritten shows.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import counters, work
from .device import Device
from .segments import Segment, check_range

POISON = 0xFF


class BaseMemory:
    """A block of device memory: `ptr`, `size` in bytes, `device_id`."""

    ptr: int = 0
    size: int = 0
    device_id: int = 0

    def __int__(self) -> int:
        return self.ptr

    @property
    def device(self) -> Device:
        return Device(self.device_id)

    def view(
        self, shape: tuple[int, ...], dtype: np.dtype, offset: int, strides: Any
    ) -> np.ndarray:
        """A NumPy array on the block's bytes, which does not keep the block from reuse."""
        made: np.ndarray = np.ndarray(shape, dtype, self._bytes(), offset, strides)
        return made

    def _bytes(self) -> Any:
        return bytearray()


class Memory(BaseMemory):
    """A block that comes from the driver (cudaMalloc) and goes back to it."""

    def __init__(self, size: int) -> None:
        self.size = size
        if size:
            self._segment = Segment(size)
            self._segment.bytes.fill(POISON)
            self.ptr = self._segment.address

    def _bytes(self) -> Any:
        return self._segment.bytes if self.size else bytearray()


class UnownedMemory(BaseMemory):
    """Memory that another owner holds; `owner` is kept alive."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = max(device_id, 0)

    def _bytes(self) -> Any:
        return (ctypes.c_char * self.size).from_address(self.ptr) if self.size else bytearray()


class MemoryPointer:
    """An address inside a block, which it keeps alive."""

    def __init__(self, mem: BaseMemory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset
        self.device_id = mem.device_id

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    __radd__ = __add__

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    @property
    def device(self) -> Device:
        return self.mem.device

    def copy_from_device(self, src: MemoryPointer, size: int) -> None:
        self.copy_from_device_async(src, size)

    def copy_from_device_async(
        self, src: MemoryPointer, size: int, stream: work.Stream | None = None
    ) -> None:
        """Copy `size` bytes within the device."""
        if size > 0:
            _copy("memcpy", self.ptr, src.ptr, size, stream)

    def copy_from_host(self, mem: int | ctypes.c_void_p, size: int) -> None:
        work.refuse_in_capture("synchronous API calls")
        self.copy_from_host_async(mem, size)
        if size > 0:
            counters.add("synchronisations")

    def copy_from_host_async(
        self, mem: int | ctypes.c_void_p, size: int, stream: work.Stream | None = None
    ) -> None:
        """Copy `size` bytes from the host address `mem`."""
        _refuse_transfer("H2D", stream)
        if size > 0:
            _copy("h2d", self.ptr, _address(mem), size, stream)

    def copy_from(self, mem: Any, size: int) -> None:
        if isinstance(mem, MemoryPointer):
            self.copy_from_device(mem, size)
        else:
            self.copy_from_host(mem, size)

    def copy_from_async(self, mem: Any, size: int, stream: work.Stream | None = None) -> None:
        if isinstance(mem, MemoryPointer):
            self.copy_from_device_async(mem, size, stream)
        else:
            self.copy_from_host_async(mem, size, stream)

    def copy_to_host(self, mem: int | ctypes.c_void_p, size: int) -> None:
        work.refuse_in_capture("synchronous API calls")
        self.copy_to_host_async(mem, size)
        if size > 0:
            counters.add("synchronisations")

    def copy_to_host_async(
        self, mem: int | ctypes.c_void_p, size: int, stream: work.Stream | None = None
    ) -> None:
        """Copy `size` bytes to the host address `mem`."""
        _refuse_transfer("D2H", stream)
        if size > 0:
            _copy("d2h", _address(mem), self.ptr, size, stream)

    def memset(self, value: int, size: int) -> None:
        work.refuse_in_capture("synchronous API calls")
        self.memset_async(value, size)

    def memset_async(self, value: int, size: int, stream: work.Stream | None = None) -> None:
        """Set `size` bytes to `value`."""
        if size > 0:
            memset(self.ptr, value, size, stream)


def _address(mem: int | ctypes.c_void_p) -> int:
    return mem if isinstance(mem, int) else mem.value or 0


def _refuse_transfer(direction: str, on: work.Stream | None) -> None:
    work.refuse_in_capture(f"{direction} transfers", work.state_of(on))


def _copy(kind: str, dst: int, src: int, size: int, on: work.Stream | None) -> None:
    def run() -> None:
        if kind != "d2h":
            check_range(dst, size)
        if kind != "h2d":
            check_range(src, size)
        ctypes.memmove(dst, src, size)

    work.submit(work.state_of(on), kind, f"{kind} {size} bytes", run)


def memset(ptr: int, value: int, size: int, on: work.Stream | None = None) -> None:
    """Set `size` bytes of device memory from `ptr` on to `value`."""
    memset_on(work.state_of(on), ptr, value, size)


def memset_on(state: work.StreamState, ptr: int, value: int, size: int) -> None:
    def run() -> None:
        check_range(ptr, size)
        ctypes.memset(ptr, value, size)

    work.submit(state, "memset", f"memset {size} bytes", run)


def malloc_driver(size: int) -> MemoryPointer:
    """A block straight from the driver, without a pool."""
    if size:
        counters.add("allocations")
        counters.add("bytes_allocated", size)
        counters.add("pool_misses")
    return MemoryPointer(Memory(size), 0)

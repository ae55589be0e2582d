"""Page-locked host memory, which on a simulated GPU is host memory."""

from __future__ import annotations

import ctypes

from .segments import ALIGNMENT


class PinnedMemoryPointer(bytearray):
    """Page-locked host memory; a buffer that `numpy.frombuffer` reads."""

    @property
    def ptr(self) -> int:
        return ctypes.addressof((ctypes.c_char * len(self)).from_buffer(self))

    @property
    def mem(self) -> PinnedMemoryPointer:
        return self

    def size(self) -> int:
        return len(self)

    def __int__(self) -> int:
        return self.ptr


class PinnedMemoryPool:
    """Gives page-locked host memory; it is not reused here, for nothing depends on it."""

    def malloc(self, size: int) -> PinnedMemoryPointer:
        """At least `size` bytes: the next power of two, from 512 on."""
        if size == 0:
            return PinnedMemoryPointer()
        return PinnedMemoryPointer(max(ALIGNMENT, 1 << (size - 1).bit_length()))

    def free_all_blocks(self) -> None:
        """Nothing is kept."""

    def n_free_blocks(self) -> int:
        return 0


_pinned_pool = PinnedMemoryPool()


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Page-locked host memory of at least `size` bytes."""
    return _pinned_pool.malloc(size)


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    return _pinned_pool

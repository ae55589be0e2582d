"""Pools, which give freed blocks of device memory again, and who hands blocks to arrays.

A pool keeps freed blocks in one arena a stream and gives the smallest that fits, split where it
is larger, as CuPy's does; so a test sees the address reuse that a GPU would show. Under
AddressSanitizer a block has exactly the size asked for, and only that size gets it again.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import counters, sanitizer, work
from .errors import CUDARuntimeError, OutOfMemoryError
from .memory import POISON, BaseMemory, Memory, MemoryPointer, malloc_driver
from .segments import ALIGNMENT, DEVICE_BYTES, Segment, lock

Allocator = Callable[[int], MemoryPointer]


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class _Chunk:
    """A part of a segment: free in its arena, or lent out. Parts of a segment know each other."""

    def __init__(self, segment: Segment, address: int, size: int, arena: _Arena) -> None:
        self.segment, self.address, self.size, self.arena = segment, address, size, arena
        self.prev: _Chunk | None = None
        self.next: _Chunk | None = None
        self.place: tuple[int, int] | None = None  # in the arena's order, while it is free

    def split(self, size: int) -> _Chunk | None:
        """Shrink to `size` bytes; returns the rest, if there is any."""
        if self.size == size:
            return None
        rest = _Chunk(self.segment, self.address + size, self.size - size, self.arena)
        rest.prev, rest.next = self, self.next
        if self.next is not None:
            self.next.prev = rest
        self.next, self.size = rest, size
        return rest

    def merge_next(self) -> None:
        assert self.next is not None
        self.size += self.next.size
        self.next = self.next.next
        if self.next is not None:
            self.next.prev = self


class _Arena:
    """The free chunks of one pool on one stream: smaller ones first, then the latest freed."""

    def __init__(self) -> None:
        self._order: list[tuple[int, int]] = []
        self._chunks: dict[tuple[int, int], _Chunk] = {}

    def __len__(self) -> int:
        return len(self._order)

    def take(self, size: int) -> _Chunk | None:
        """The smallest free chunk of at least `size` bytes, cut to that size."""
        index = bisect.bisect_left(self._order, (size, -sys.maxsize))
        if index == len(self._order):
            return None
        if sanitizer.wanted() and self._order[index][0] != size:
            return None
        chunk = self._chunks[self._order[index]]
        self._remove(chunk)
        rest = chunk.split(size)
        if rest is not None:
            self._insert(rest)
        return chunk

    def put(self, chunk: _Chunk) -> None:
        """Take a chunk back and merge it with its free neighbours."""
        while chunk.next is not None and chunk.next.place is not None:
            self._remove(chunk.next)
            chunk.merge_next()
        while chunk.prev is not None and chunk.prev.place is not None:
            chunk = chunk.prev
            self._remove(chunk)
            chunk.merge_next()
        self._insert(chunk)

    def release(self) -> set[Segment]:
        """Forget the chunks that are whole segments; returns those segments."""
        whole = [c for c in self._chunks.values() if c.prev is None and c.next is None]
        for chunk in whole:
            self._remove(chunk)
        return {chunk.segment for chunk in whole}

    def _insert(self, chunk: _Chunk) -> None:
        chunk.place = chunk.size, -next(_serial)
        bisect.insort(self._order, chunk.place)
        self._chunks[chunk.place] = chunk

    def _remove(self, chunk: _Chunk) -> None:
        assert chunk.place is not None
        del self._order[bisect.bisect_left(self._order, chunk.place)]
        del self._chunks[chunk.place]
        chunk.place = None


_serial = itertools.count()


class PooledMemory(BaseMemory):
    """A block lent by a pool, which takes it back when the object dies."""

    def __init__(self, chunk: _Chunk, pool: weakref.ref[MemoryPool]) -> None:
        self._chunk: _Chunk | None = chunk
        self._pool = pool
        self.ptr, self.size = chunk.address, chunk.size

    def free(self) -> None:
        """Give the block back now; whoever still uses its address uses freed memory."""
        chunk, self._chunk = self._chunk, None
        pool = self._pool()
        if chunk is not None and pool is not None:
            pool._take_back(chunk)

    def __del__(self) -> None:
        self.free()

    def view(
        self, shape: tuple[int, ...], dtype: np.dtype, offset: int, strides: Any
    ) -> np.ndarray:
        chunk = self._chunk
        assert chunk is not None, "this memory was freed"
        offset += chunk.address - chunk.segment.address
        made: np.ndarray = np.ndarray(shape, dtype, chunk.segment.bytes, offset, strides)
        return made


class MemoryPool:
    """A pool of device memory: freed blocks are kept and lent again, on the stream that freed."""

    def __init__(self, allocator: Allocator | None = None) -> None:
        self._arenas: dict[int, _Arena] = {}
        # Held here, too: a lent chunk that dies in a reference cycle comes back to life in its
        # arena, and its segment must not have been finalised in between.
        self._segments: set[Segment] = set()
        self._weak = weakref.ref(self)
        self._total = self._used = self._limit = 0

    def malloc(self, size: int) -> MemoryPointer:
        """A block of at least `size` bytes, all of them 0xFF."""
        if size == 0:
            return MemoryPointer(Memory(0), 0)
        counters.add("allocations")
        counters.add("bytes_allocated", _round_up(size))
        size = size if sanitizer.wanted() else _round_up(size)
        with lock:
            arena = self._arenas.setdefault(work.current().ptr, _Arena())
            chunk = arena.take(size) or self._new_chunk(size, arena)
            self._used += chunk.size
        block = PooledMemory(chunk, self._weak)
        ctypes.memset(chunk.address, POISON, size)
        return MemoryPointer(block, 0)

    def free_all_blocks(self, stream: work.Stream | None = None) -> None:
        """Give all unsplit free blocks, or those of one stream, back to the driver."""
        with lock:
            for ptr, arena in self._arenas.items():
                if stream is not None and ptr != stream._state.ptr:
                    continue
                released = arena.release()
                self._segments -= released
                self._total -= sum(segment.size for segment in released)

    def free_all_free(self) -> None:
        self.free_all_blocks()

    def n_free_blocks(self) -> int:
        with lock:
            return sum(len(arena) for arena in self._arenas.values())

    def used_bytes(self) -> int:
        return self._used

    def free_bytes(self) -> int:
        return self._total - self._used

    def total_bytes(self) -> int:
        return self._total

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Limit what the pool may hold, in bytes or as a part of the device's memory."""
        if size is not None and fraction is not None:
            raise ValueError("size and fraction cannot be specified at one time")
        if fraction is not None:
            if not 0 <= fraction <= 1:
                raise ValueError(f"memory limit fraction out of range: {fraction}")
            size = int(fraction * DEVICE_BYTES)
        if size is not None and size < 0:
            raise ValueError(f"memory limit size out of range: {size}")
        self._limit = size or 0

    def get_limit(self) -> int:
        return self._limit

    def _new_chunk(self, size: int, arena: _Arena) -> _Chunk:
        segment = self._new_segment(size)
        if segment is None:
            self.free_all_blocks()
            segment = self._new_segment(size)
            if segment is None:
                raise OutOfMemoryError(size, self._total, self._limit)
        counters.add("pool_misses")
        self._segments.add(segment)
        self._total += size
        return _Chunk(segment, segment.address, size, arena)

    def _new_segment(self, size: int) -> Segment | None:
        """Memory of the driver, unless that or the pool's limit has no room."""
        if self._limit and self._total + size > self._limit:
            return None
        try:
            return Segment(size)
        except CUDARuntimeError:
            return None

    def _take_back(self, chunk: _Chunk) -> None:
        with lock:
            self._used -= chunk.size
            chunk.arena.put(chunk)


default_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    """The pool that arrays come from unless another allocator is set."""
    return default_pool


# ---------------------------------------------------------------------------------------------
# Allocators


class _ThreadAllocator(threading.local):
    allocator: Allocator | None = None


_global_allocator: Allocator = default_pool.malloc
_thread = _ThreadAllocator()


def alloc(size: int) -> MemoryPointer:
    """A block from this thread's allocator, or else the one set for all threads."""
    return (_thread.allocator or _global_allocator)(size)


def get_allocator() -> Allocator:
    return _thread.allocator or _global_allocator


def set_allocator(allocator: Allocator | None = None) -> None:
    """Let all threads allocate with `allocator`; None means straight from the driver."""
    global _global_allocator
    if _thread.allocator is not None:
        raise ValueError("Can't change the global allocator inside `using_allocator` context")
    _global_allocator = allocator or malloc_driver


@contextlib.contextmanager
def using_allocator(allocator: Allocator | None = None) -> Iterator[None]:
    """Let this thread allocate with `allocator` inside the block."""
    previous = _thread.allocator
    _thread.allocator = allocator or malloc_driver
    try:
        yield
    finally:
        _thread.allocator = previous

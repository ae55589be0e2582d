"""Batches copied to the GPU from host memory or from a file, while the GPU computes.

Two pinned buffers on the host, two buffers on the device, and a stream for the copies. The copy of
batch k + 1 is on its way before the work on batch k is even launched:

    host     gather 0 | gather 1 | launch 0 | gather 2 | launch 1 | gather 3 | ...
    copies            |  copy 0  |  copy 1  |          |  copy 2  |
    compute                                 | batch 0             | batch 1 ...

What must not overtake what is said by events. The compute stream waits for a batch's copy; the copy
into a buffer waits for the work on the batch that was there; and the host, before it writes into a
pinned buffer, for the copy out of it. That last one is all that the host ever waits for.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from mmap import mmap
from typing import Any

import numpy as np

from gpunet.backend import Array, cupy

HostArray = np.ndarray[Any, Any]


class HostRows:
    """Rows of an array on the host, or in a file, read when asked for and then made of `dtype`."""

    def __init__(self, array: HostArray, dtype: Any) -> None:
        self.array, self.dtype = array, np.dtype(dtype)
        self.shape = array.shape[1:]
        self._mapped = is_mapped(array)

    def count(self, rows: Any) -> int:
        """How many rows a slice, or an array of row numbers, takes."""
        if isinstance(rows, slice):
            return len(range(*rows.indices(len(self.array))))
        return len(rows)

    def read(self, rows: Any) -> HostArray:
        """The rows as an array of their own; a slice that needs no conversion is a view."""
        if isinstance(rows, slice):
            return self.array[rows].astype(self.dtype, copy=False)
        out = np.empty((len(rows), *self.shape), self.dtype)
        self.read_into(rows, out)
        return out

    def read_into(self, rows: Any, out: HostArray) -> None:
        """The rows into `out`, of shape (rows, ...) and of `dtype`."""
        if isinstance(rows, slice):
            out[...] = self.array[rows]
        elif self._mapped:
            order = np.argsort(rows)  # a disk reads forwards best
            out[order] = self.array[rows[order]]
        elif self.array.dtype == self.dtype:
            # Right into `out`, where indexing makes an array first. ("raise" would, too.)
            np.take(self.array, rows, axis=0, out=out, mode="clip")
        else:
            out[...] = self.array[rows]


def is_mapped(array: Any) -> bool:
    """Whether the array's numbers lie in a memory-mapped file, also as a view of such an array."""
    while array is not None:
        if isinstance(array, (np.memmap, mmap)):
            return True
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return False


def free_bytes() -> int:
    """What the current GPU has room for: free memory, and what CuPy's pool holds unused.

    Never more than the pool's limit, where one is set, leaves.
    """
    cp = cupy()
    pool = cp.get_default_memory_pool()
    free = int(cp.cuda.Device().mem_info[0] + pool.free_bytes())
    limit = pool.get_limit()
    return min(free, limit - pool.used_bytes()) if limit else free


def batches(
    parts: Sequence[HostRows], groups: Sequence[Any]
) -> Generator[tuple[Array, ...], None, None]:
    """x and t, and weights where there are any, on the current GPU for each group of rows in turn.

    Args:
        parts: what to take the rows from.
        groups: arrays of row numbers (NumPy), or slices.

    The arrays are buffers: what is launched on them before the next batch is asked for sees this
    batch, what is launched later may see another. Batches are asked for with that stream current
    on which the work on them is launched. However the iteration ends, no copy is under way when
    the iterator is closed.
    """
    cp = cupy()
    copies = cp.cuda.Stream(non_blocking=True)  # the null stream would wait for any other kind
    most = max((parts[0].count(rows) for rows in groups), default=0)
    slots = [_Slot(cp, parts, most) for _ in range(2)]
    try:
        for k in range(len(groups) + 1):
            if k < len(groups):
                slots[k % 2].send(groups[k], copies)
            if k > 0:
                slot = slots[(k - 1) % 2]
                yield slot.receive(cp.cuda.get_current_stream())
                slot.used.record()
    finally:
        copies.synchronize()  # the buffers are about to be freed


class _Slot:
    """A place for one batch: on the host, pinned, and on the device."""

    def __init__(self, cp: Any, parts: Sequence[HostRows], most: int) -> None:
        self._parts = parts
        self._host = [pinned(cp, (most, *part.shape), part.dtype) for part in parts]
        self._device = [cp.empty((most, *part.shape), part.dtype) for part in parts]
        self._count = 0
        self.copied, self.used = (cp.cuda.Event(disable_timing=True) for _ in range(2))
        self.used.record()  # after any work on what the pool's memory was before

    def send(self, rows: Any, copies: Any) -> None:
        """Gather the rows, and put their copy to the device on the stream `copies`."""
        self.copied.synchronize()
        copies.wait_event(self.used)
        self._count = n = self._parts[0].count(rows)
        for part, host, device in zip(self._parts, self._host, self._device, strict=True):
            part.read_into(rows, host[:n])
            device[:n].set(host[:n], copies)
        self.copied.record(copies)

    def receive(self, compute: Any) -> tuple[Array, ...]:
        """The batch on the device, for work that the stream `compute` is given from now on."""
        compute.wait_event(self.copied)
        return tuple(part[: self._count] for part in self._device)


def pinned(cp: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> HostArray:
    """An uninitialised array in page-locked memory, from which a copy needs no help of the host."""
    size = math.prod(shape)
    memory = cp.cuda.alloc_pinned_memory(max(1, size * dtype.itemsize))
    return np.frombuffer(memory, dtype, size).reshape(shape)

"""What the simulated GPU was asked to do: launches, allocations, copies, synchronisations."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields


@dataclass
class Counters:
    """Calls made to the device; a call that a capture records, or a replay repeats, is none.

    launches: kernels run by a call of their own (ufuncs, reductions, user kernels, matmul).
    graph_launches: captured graphs run, however many kernels each holds.
    memsets: fills with one byte, as `zeros` and `fill(0)` do.
    allocations: blocks handed out, by a memory pool or by the driver.
    bytes_allocated: what those blocks hold, rounded up to 512 bytes each as CuPy rounds.
    pool_misses: those allocations for which the pool had no free block (a cudaMalloc each).
    h2d_copies, d2h_copies, d2d_copies: copies host to device, device to host, within the device.
    synchronisations: times the host waited for the device.
    """

    launches: int = 0
    graph_launches: int = 0
    memsets: int = 0
    allocations: int = 0
    bytes_allocated: int = 0
    pool_misses: int = 0
    h2d_copies: int = 0
    d2h_copies: int = 0
    d2d_copies: int = 0
    synchronisations: int = 0

    def reset(self) -> None:
        """Set every count to zero."""
        with _lock:
            for field in fields(self):
                setattr(self, field.name, 0)


_lock = threading.Lock()
_open: list[Counters] = []


def add(name: str, amount: int = 1) -> None:
    """Add to the count `name` of every open `count()` block; of all threads."""
    if _open:
        with _lock:
            for counters in _open:
                setattr(counters, name, getattr(counters, name) + amount)


@contextmanager
def count() -> Iterator[Counters]:
    """Count what the device is asked to do inside the block; blocks may be nested.

    with simgpu.count() as counters:
        step()
    assert counters.launches == 3
    """
    counters = Counters()
    with _lock:
        _open.append(counters)
    try:
        yield counters
    finally:
        with _lock:
            _open[:] = [other for other in _open if other is not counters]

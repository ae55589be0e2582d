"""What the simulated GPU was asked to do: launches, allocations, copies, waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from . import library


@dataclass
class Counters:
    """Calls made to the device; a call that a capture records, or a replay repeats, is none.

    launches: kernels run by a call of their own (CuPy's, the user's, cuBLAS's).
    graph_launches: captured graphs run, however many kernels each holds.
    memsets: fills with one byte, as `zeros` does.
    allocations: blocks handed out by a memory pool.
    bytes_allocated: what those blocks hold, rounded up to 512 bytes each as CuPy rounds.
    pool_misses: allocations by the driver, for which a pool had no free block.
    h2d_copies, d2h_copies, d2d_copies: copies host to device, device to host, within the device.
    synchronisations: times the host waited for the device.
    graph_kernels: kernels in the graphs that were run; it counts for nothing in a comparison.
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
    graph_kernels: int = field(default=0, compare=False)

    def reset(self) -> None:
        """Count from zero again."""
        vars(self)["_from"] = _now()

    def __getattribute__(self, name: str) -> Any:
        start = vars(self).get("_from") if name in NAMES else None
        if start is None:
            return object.__getattribute__(self, name)
        at = NAMES.index(name)
        return _now()[at] - start[at]


NAMES = tuple(field.name for field in fields(Counters))  # in the order of sim.h


def _now() -> list[int]:
    array = library.load().sim_counters()
    return [int(array[i]) for i in range(len(NAMES))]


@contextmanager
def count() -> Iterator[Counters]:
    """Count what the device is asked to do inside the block, by all threads; may be nested.

    with simgpu.count() as counters:
        step()
    assert counters.launches == 3
    """
    counters = Counters()
    counters.reset()
    try:
        yield counters
    finally:
        values = [getattr(counters, name) for name in NAMES]
        del vars(counters)["_from"]
        vars(counters).update(zip(NAMES, values, strict=True))

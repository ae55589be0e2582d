"""What a step asks of the device: launches, copies, waits, bytes. None for what is not known.

cpu   only bytes: the most memory that a step holds beyond what was in use before it, by
      tracemalloc, which sees NumPy's arrays and Python's objects.
cuda  bytes of all blocks that CuPy's pool hands out, by a memory hook. A program cannot count its
      own launches on a GPU; `places` says who can.
"""

from __future__ import annotations

import tracemalloc

from gpunet.backend import cupy
from gpunet.bench.timing import Run

COUNTS = ("launches", "kernels", "d2h_copies", "h2d_copies", "synchronisations", "bytes_allocated")
WARM, STEPS = 3, 10

Counts = dict[str, float | None]


def counts(**known: float) -> Counts:
    """All COUNTS, those that are not given unknown; whole numbers as such."""
    return dict.fromkeys(COUNTS) | {name: _whole(value) for name, value in known.items()}


def _whole(value: float) -> float:
    return int(value) if value == int(value) else round(value, 2)


def most_held(run: Run) -> Counts:
    """On the CPU, of one step."""
    run(WARM)
    tracemalloc.start()
    try:
        run(1)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(1)
        return counts(bytes_allocated=tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def handed_out(run: Run) -> Counts:
    """By CuPy's memory pool, rounded up as it rounds: bytes a step."""
    run(WARM)
    total = 0

    class Hook(cupy().cuda.memory_hook.MemoryHook):  # type: ignore[misc]
        name = "gpunet-bench"

        def malloc_preprocess(self, *, device_id: int, size: int, mem_size: int) -> None:
            nonlocal total
            total += mem_size

    with Hook():
        run(STEPS)
    return counts(bytes_allocated=total / STEPS)

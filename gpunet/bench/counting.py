"""What a step asks of the device, counted beside the timing: launches, copies, waits, bytes.

cpu   only bytes: the most memory that a step holds beyond what was in use before it, by
      tracemalloc, which sees NumPy's arrays and Python's objects.
sim   everything, by the simulated GPU's counters; bytes are those of all blocks handed out.
cuda  bytes of all blocks that CuPy's pool hands out, by a memory hook. A program cannot count its
      own launches on a GPU, so those, the copies and the waits are counted on the simulated GPU,
      which runs the same step, in a process of its own; where there is no g++ they are unknown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

from gpunet.backend import cupy
from gpunet.bench.timing import Run

COUNTS = ("launches", "d2h_copies", "h2d_copies", "synchronisations", "bytes_allocated")
WARM, STEPS = 3, 10
STAND_IN = {"W3": "W3c"}  # as many layers, smaller; what is counted does not depend on sizes
LIMIT_S = 300

Counts = dict[str, float | None]


def counts(run: Run, place: str, name: str, mode: str) -> Counts:
    """COUNTS a step of workload `name`, None for what is not known; `run` is of this place."""
    nothing: Counts = dict.fromkeys(COUNTS)
    run(WARM)
    if place == "sim":
        return _simulated(run)
    if place == "cuda":
        elsewhere = _in_simulation(STAND_IN.get(name, name), mode)
        return nothing | elsewhere | {"bytes_allocated": _handed_out(run)}
    return nothing | {"bytes_allocated": _peak(run)}


def _simulated(run: Run) -> Counts:
    from gpunet.testing import simgpu

    with simgpu.count() as used:
        run(STEPS)
    found: Counts = {name: _whole(getattr(used, name) / STEPS) for name in COUNTS}
    found["launches"] = _whole((used.launches + used.graph_launches) / STEPS)
    return found


def _whole(value: float) -> float:
    return int(value) if value == int(value) else round(value, 2)


def _peak(run: Run) -> int:
    tracemalloc.start()
    try:
        run(1)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run(1)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _handed_out(run: Run) -> float:
    """Bytes a step that CuPy's memory pool gives, rounded up as it rounds."""
    total = 0

    class Hook(cupy().cuda.memory_hook.MemoryHook):  # type: ignore[misc]
        name = "gpunet-bench"

        def malloc_preprocess(self, *, device_id: int, size: int, mem_size: int) -> None:
            nonlocal total
            total += mem_size

    with Hook():
        run(STEPS)
    return _whole(total / STEPS)


def _in_simulation(name: str, mode: str) -> dict[str, Any]:
    """The counts of a process that runs the workload on the simulated GPU; {} if it cannot."""
    from gpunet.testing import simgpu

    if not simgpu.available()[0]:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts.json")
        command = [sys.executable, "-m", "gpunet", "bench", name, "--device", "sim"]
        command += ["--rounds", "1", "--json", str(file)]
        try:
            subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=True)
            found = json.loads(file.read_bytes())
        except (OSError, subprocess.SubprocessError, ValueError):
            return {}
    return next(({k: one[k] for k in COUNTS} for one in found if one["mode"] == mode), {})

"""Where steps are measured: the CPU, a GPU, and what other packages offer.

A package offers a place as an entry point of the group "gpunet.bench", whose name is the place's
and whose object is a function without arguments that gives a context manager; inside it `import
cupy` gives what belongs to the `Place` it yields. gpunet.testing so offers "sim", which counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from gpunet.bench.counting import COUNTS, Counts, counts, handed_out, most_held
from gpunet.bench.timing import Run
from gpunet.bench.workloads import Workload

GROUP = "gpunet.bench"
COUNTED = "sim"  # the place that knows a GPU's launches
LIMIT_S = 300


@dataclass(frozen=True)
class Place:
    """device: "cpu" or "cuda". timed: False where seconds mean nothing. count: what a step asks of
    the device, by its run, the workload and the mode.
    """

    name: str
    device: str
    count: Callable[[Run, Workload, str], Counts]
    timed: bool = True


def names() -> list[str]:
    """Of all places; which of them this machine can use shows when one is entered."""
    return ["cpu", "cuda", *_offered()]


@contextmanager
def at(name: str) -> Iterator[Place]:
    """The place, to be measured in. ValueError or DeviceError of what offers it, if unusable."""
    if name == "cpu":
        yield Place("cpu", "cpu", lambda run, *_: most_held(run))
    elif name == "cuda":
        yield Place("cuda", "cuda", _on_gpu)
    else:
        enter: Callable[[], AbstractContextManager[Place]] = _offered()[name].load()
        with enter() as place:
            yield place


def _offered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _on_gpu(run: Run, workload: Workload, mode: str) -> Counts:
    return elsewhere(workload, mode) | {
        name: value for name, value in handed_out(run).items() if value is not None
    }


def elsewhere(workload: Workload, mode: str) -> Counts:
    """The counts of the same step at COUNTED, in a process of its own; unknown if that cannot."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts.json")
        command = [sys.executable, "-m", "gpunet", "bench", *workload.words]
        command += ["--device", COUNTED, "--rounds", "1", "--json", str(file)]
        try:
            subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=True)
            found = json.loads(file.read_bytes())
        except (OSError, subprocess.SubprocessError, ValueError):
            return counts()
    return next(({k: one[k] for k in COUNTS} for one in found if one["mode"] == mode), counts())

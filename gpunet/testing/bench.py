"""The simulated GPU as a place of `gpunet bench --device sim`: it counts, and tells no time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpunet.backend import DeviceError
from gpunet.bench.counting import COUNTS, STEPS, WARM, Counts, counts
from gpunet.bench.places import Place
from gpunet.bench.timing import Run
from gpunet.testing import simgpu


@contextmanager
def simulated() -> Iterator[Place]:
    """`import cupy` gives the simulated GPU. DeviceError, with the reason, if there is none."""
    usable, reason = simgpu.available()
    if not usable:
        raise DeviceError(f"no simulated GPU: {reason}")
    with simgpu.activate():
        yield Place("sim", "cuda", lambda run, *_: count(run), timed=False)


def count(run: Run) -> Counts:
    """A mean of some steps; a graph is one launch, bytes are those of all blocks handed out."""
    run(WARM)
    with simgpu.count() as used:
        run(STEPS)
    found = {name: getattr(used, name) / STEPS for name in COUNTS if name != "kernels"}
    found["kernels"] = found["launches"] + used.graph_kernels / STEPS
    found["launches"] += used.graph_launches / STEPS
    return counts(**found)

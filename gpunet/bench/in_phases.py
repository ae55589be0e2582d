"""A workload's steps in phases, from data that lies on the GPU, as a Trainer runs them."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet import counters
from gpunet.backend import Array, array_module
from gpunet.bench.timing import Run
from gpunet.fused.resident import Resident
from gpunet.fused.step import Step
from gpunet.graphs import Graphs
from gpunet.phases.phased import Phased

AT_ONCE = 50  # steps of a launch, as in gpunet/train/launches.py


def phased_of(step: Step, x: Array, t: Array) -> Phased:
    """AT_ONCE steps of one batch, again and again. ValueError with the reason, if not in phases."""
    xp, rows = array_module(x), len(x)
    order = xp.tile(xp.arange(rows, dtype=np.int64), AT_ONCE)
    counted = counters.Counters(xp)
    resident = Resident(step, x, t, order, xp.zeros(AT_ONCE, np.float64), counted)
    phased = Phased([resident], rows)
    if phased.reason:
        raise ValueError(f"not in phases: {phased.reason}")
    return phased


def runner(phased: Phased, rows: int, persistent: bool) -> Run:
    """`run(n)`: by graphs of a kernel a phase, or by the persistent kernel."""
    graphs = Graphs(phased.resident.xp)
    graphs.counters = phased.resident.counters

    def run(steps: int) -> None:
        for first in range(0, steps, AT_ONCE):
            count = min(AT_ONCE, steps - first)
            graphs.counters.set(row=0, batch=0)
            if persistent:
                graphs.at_once(partial(phased.many, rows), rows, steps=count)
                continue
            whole = count == AT_ONCE and graphs.is_warm("phases")
            for _ in range(1 if whole else count):
                step = partial(phased.one, rows)
                graphs.run("phases", step, rows, steps=AT_ONCE if whole else 1)

    return run

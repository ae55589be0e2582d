"""gpunet's workloads, as the benchmarks use them: the peers' tasks, and tiny ones to try."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gpunet.bench.steps import runner, training_step, update_alone
from gpunet.bench.workloads import (
    Numbers,
    Workload,
    chosen,
    gradients,
    order,
    rows,
    start,
    workloads,
)

__all__ = [
    "Numbers",
    "Task",
    "Workload",
    "chosen",
    "gradients",
    "order",
    "rows",
    "runner",
    "start",
    "task",
    "tiny",
    "training_step",
    "update_alone",
    "workloads",
]


@dataclass(frozen=True)
class Task:
    """What a peer is told: the workload, where, and NumPy arrays to begin with.

    start: W (in, out) of each layer, or the tensors of an update alone, whose gradients are
    `gradients`. x, t: one batch, or the whole data set where the workload is an epoch.
    dropout: the workload's share, or 0 so that losses can be compared.
    """

    workload: Workload
    device: str
    start: list[Numbers]
    x: Numbers | None = None
    t: Numbers | None = None
    gradients: list[Numbers] = field(default_factory=list)
    dropout: float = 0.0


def task(workload: Workload, device: str, folder: str | None = None) -> Task:
    """The task without dropout, the same whenever it is made."""
    if not workload.sizes:
        return Task(workload, device, start(workload), gradients=gradients(workload))
    return Task(workload, device, start(workload), *rows(workload, folder))


def tiny(workload: Workload) -> Workload:
    """The same with few small rows: to see that everything runs, not how fast."""
    return replace(
        workload,
        sizes=tuple(min(n, 24) for n in workload.sizes),
        batch=min(workload.batch, 16),
        parameters=min(workload.parameters, 5000),
        rows=min(workload.rows, 400),
    )

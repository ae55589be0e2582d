"""gpunet: the fast step, the plain tape, and on a GPU the captured step."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.peers.base import Make, Training, Update
from benchmarks.workloads import Task, Workload, order, training_step, update_alone
from gpunet import numpy_c
from gpunet.backend import to_device, to_host
from gpunet.bench import in_phases
from gpunet.bench.steps import modes
from gpunet.bench.timing import waiter
from gpunet.fused import native, on_script
from gpunet.fused.scripted import AT_ONCE, Rows, Scripted

VERSIONS = {"gpunet": gn.__version__, "numpy": np.__version__}


class Ours(Training):
    def __init__(self, task: Task, fuse: bool = True, captured: bool = False) -> None:
        self.device = task.device
        super().__init__(task)
        step = training_step(task.workload, task.device, task.start, task.dropout, fuse)
        self.update: Any = gn.capture(step) if captured else step
        self.wait = waiter(task.device)

    def place(self, array: np.ndarray) -> Any:
        return to_device(array, self.device)

    def losses(self, steps: int) -> list[float]:
        return [float(to_host(self.step())) for _ in range(steps)]


class ManyACall(Ours):
    """Up to 50 steps a call, each with the gathering of its rows, as a Trainer makes them on the
    CPU.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.rows, self.whole = task.workload.batch, bool(task.workload.rows)
        self.epochs = itertools.count()
        labels = np.ascontiguousarray(self.t, np.int64)
        place = np.zeros(len(self.x) if self.whole else AT_ONCE * self.rows, np.int64)
        self.data = Rows(self.x, labels, place, np.zeros(len(place)))
        self.scripted = Scripted(self.update.fused.plan, self.update.optimizer, self.data)

    def _some(self, order: np.ndarray) -> list[float]:
        """Steps through these batches, (steps, rows); their losses."""
        self.data.order[: order.size] = order.reshape(-1)
        for k in range(0, len(order), AT_ONCE):
            self.scripted.begin(k, k * self.rows)
            if not self.scripted.many(self.rows, min(AT_ONCE, len(order) - k)):
                raise RuntimeError(self.scripted.refusal(self.rows))
        return self.data.losses[: len(order)].tolist()

    def losses(self, steps: int) -> list[float]:
        if self.whole:
            return self._some(order(len(self.x), self.rows, next(self.epochs))[:steps])
        found: list[float] = []
        alike = np.tile(np.arange(self.rows), (AT_ONCE, 1))
        for k in range(0, steps, AT_ONCE):
            found += self._some(alike[: steps - k])
        return found

    def run(self, steps: int) -> None:
        self.losses(steps)


class Anyhow(Scripted):
    """A script of whatever step, were it slower than Python's."""

    def refusal(self, rows: int) -> str | None:
        return None


class Products(ManyACall):
    """The step's matrix products and nothing else: what no step by this BLAS is faster than. Its
    losses are those of the whole step.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.scripted = Anyhow(self.update.fused.plan, self.update.optimizer, self.data)
        self.alone: Any = None

    def run(self, steps: int) -> None:
        if self.alone is None:
            self.losses(1)
            self.alone = self.scripted.script(self.rows).only("gemm")
        self.alone.run(steps)


class InPhases(Ours):
    """Up to 50 steps a launch: of a graph, or of one kernel."""

    def __init__(self, task: Task, persistent: bool) -> None:
        super().__init__(task)
        self.phased = in_phases.phased_of(self.update, self.x, self.t)
        self.run = in_phases.runner(self.phased, len(self.x), persistent)  # type: ignore[method-assign]

    def losses(self, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            self.run(1)
            found.append(float(to_host(self.phased.resident.losses)[0]))
        return found


class OurUpdate(Update):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.optimizer = update_alone(task.workload, task.device)
        self.step = self.optimizer.step
        self.wait = waiter(task.device)

    def scale(self, ratio: float) -> None:
        for p in self.optimizer.parameters:
            p.grad = p.grad * np.float32(ratio)

    def tensors(self) -> list[Any]:
        return [p.data for p in self.optimizer.parameters]

    def to_host(self, array: Any) -> np.ndarray:
        return to_host(array)


def peers(workload: Workload, device: str) -> dict[str, Make]:
    if not workload.sizes:
        return {"gpunet": OurUpdate}
    found: dict[str, Make] = {"gpunet": Ours, "gpunet, plain tape": partial(Ours, fuse=False)}
    if device == "cpu":
        found |= _by_script(workload)
    if device == "cuda":
        found["gpunet, captured"] = partial(Ours, captured=True)
        if "persistent" in modes(workload, device):
            found["gpunet, phases"] = partial(InPhases, persistent=False)
            found["gpunet, one kernel"] = partial(InPhases, persistent=True)
    return found


def _by_script(workload: Workload) -> dict[str, Make]:
    """The peers whose steps are scripts, where there are compiled loops."""
    step = training_step(workload, "cpu")
    assert step.fused is not None
    plan, rows = step.fused.plan, workload.batch
    if native.made(plan.dtype) is None or numpy_c.addresses(plan.dtype) is None:
        return {}
    found: dict[str, Make] = {} if on_script.refusal(plan, rows) else {"products alone": Products}
    if Scripted(plan, step.optimizer).refusal(rows) is None:
        found["gpunet, many a call"] = ManyACall
    return found

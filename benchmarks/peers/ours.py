"""gpunet: the fast step, the plain tape, and on a GPU the captured step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.peers.base import Make, Training, Update
from benchmarks.workloads import Task, Workload, training_step, update_alone
from gpunet.backend import to_device, to_host
from gpunet.bench import in_phases
from gpunet.bench.steps import modes
from gpunet.bench.timing import waiter

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
    if device == "cuda":
        found["gpunet, captured"] = partial(Ours, captured=True)
        if "persistent" in modes(workload, device):
            found["gpunet, phases"] = partial(InPhases, persistent=False)
            found["gpunet, one kernel"] = partial(InPhases, persistent=True)
    return found

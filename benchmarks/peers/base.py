"""What a peer is: one library's way of doing a workload's steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.workloads import Task, order

THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))  # set by benchmarks.threads
MOMENTUM = 0.9
SAMPLE = 1000  # elements of the first and the last tensor that are looked at after an update


class Peer:
    """`run` is timed, with `wait` at the end; `losses` is what it is compared by."""

    def step(self) -> Any:
        """One update. Returns the loss, wherever it is, good until the next step."""
        raise NotImplementedError

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def wait(self) -> None:
        """Until all that was asked for is done."""

    def losses(self, steps: int) -> list[float]:
        """The losses of the next `steps` steps."""
        return [float(self.step()) for _ in range(steps)]


class Training(Peer):
    """Steps on one batch, or through epochs of a data set; the device gathers the rows."""

    def __init__(self, task: Task) -> None:
        self.x, self.t = self.place(task.x), self.place(task.t)
        whole = task.workload.rows and len(task.x)
        self.batches = self._batches(whole, task.workload.batch) if whole else None

    def place(self, array: np.ndarray) -> Any:
        """The array where the library computes."""
        return array

    def update(self, x: Any, t: Any) -> Any:
        """Forward, loss, backward, update; returns the loss."""
        raise NotImplementedError

    def step(self) -> Any:
        if self.batches is None:
            return self.update(self.x, self.t)
        return self.gathered(next(self.batches))

    def gathered(self, rows: Any) -> Any:
        return self.update(self.x[rows], self.t[rows])

    def _batches(self, count: int, batch: int) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from self.place(order(count, batch, epoch))
            epoch += 1


class Update(Peer):
    """The update alone. Its "losses" are how far the tensors went along their gradients, which
    are scaled anew before each update so that a wrong moment shows.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def scale(self, ratio: float) -> None:
        """Multiply every gradient."""
        raise NotImplementedError

    def tensors(self) -> list[Any]:
        """The parameters, wherever they are."""
        raise NotImplementedError

    def to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def losses(self, steps: int) -> list[float]:
        found = []
        for k in range(steps):
            self.scale(np.cos(k) / np.cos(k - 1) if k else 1.0)
            self.step()
            found.append(self._way())
        self.scale(1 / np.cos(steps - 1))
        return found

    def _way(self) -> float:
        """Mean of (parameter - start) * gradient / lr, over a sample."""
        way = []
        for k in (0, -1):
            now = self.to_host(self.tensors()[k][:SAMPLE]).astype(np.float64)
            way.append((now - self.task.start[k][:SAMPLE]) * self.task.gradients[k][:SAMPLE])
        return float(np.mean(way)) / self.task.workload.lr


Make = Callable[[Task], Peer]

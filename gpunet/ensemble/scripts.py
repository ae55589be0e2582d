"""The updates of a stack on the CPU, by a script of each model: `gpunet.fused.scripted`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np

from gpunet.backend import Array
from gpunet.counters import UPDATE
from gpunet.ensemble.gradients import Walked
from gpunet.ensemble.one_by_one import OneByOne, Order
from gpunet.ensemble.stack import Stack
from gpunet.fused import plan
from gpunet.fused.script import Script
from gpunet.fused.scripted import Rows, Scripted
from gpunet.optim import Optimizer
from gpunet.optim.rows import ROWS
from gpunet.train.feed import Feed

Job = Callable[[], None]
FEW = 2  # epochs whose last, smaller batch is not worth scripts of its own


class OfStack(Scripted):
    """One model's steps; the scalars of all models are computed together, and filled in."""

    def __init__(self, found: plan.Plan, optimizer: Optimizer, data: Rows) -> None:
        super().__init__(found, optimizer, data)
        self._tables: list[Array] = []  # of each part, (ROWS, scalars)

    def fill(self, coming: Sequence[Array]) -> None:
        """The scalars of the next updates, of each part."""
        places = (self.counters.now[UPDATE] + np.arange(len(coming[0]))) % ROWS
        for table, rows in zip(self._tables, coming, strict=False):
            table[places] = rows

    def _update(self, script: Script) -> None:
        optimizer = self.optimizer
        self.counters.depend_on(optimizer)
        parts, width = optimizer.parts(), len(optimizer.kernel.row_names)
        while len(self._tables) < len(parts):  # scripts for several numbers of rows share them
            self._tables.append(np.zeros((ROWS, width), parts[0].dtype))
        self._note_update(script, parts, self._tables[: len(parts)])


class ByScript(OneByOne):
    """Up to 50 updates of each model by one call, from data in memory; one by one as long as that
    is not compiled, or where a model has no script.
    """

    def __init__(self, stack: Stack, feed: Feed, gradients: Walked, how: str) -> None:
        super().__init__(stack, feed, gradients, how)
        count, rows = len(stack.models), len(feed)
        labels = np.ascontiguousarray(feed.t, np.int64)
        self._order, self._all_losses = np.zeros((count, rows), np.int64), np.zeros((count, rows))
        self._scripts, self._epochs = [], 0
        for k, (model, optimizer) in enumerate(zip(stack.models, stack.optimizers, strict=True)):
            found = plan.read(model, gradients.plan.loss)
            assert isinstance(found, plan.Plan)
            data = Rows(feed.x, labels, self._order[k], self._all_losses[k])
            self._scripts.append(OfStack(found, optimizer, data))

    def begin(self, order: Order) -> Array:
        """As in `OneByOne`."""
        super().begin(order)
        self._epochs += 1
        self._order[:, : order.rows.shape[1]] = order.rows
        self._losses, self._sizes = self._all_losses[:, : len(order.sizes)], order.sizes
        return self._losses

    def run(self, first: int, last: int) -> Generator[int, None, None]:
        """As in `OneByOne`."""
        while first < last:
            rows, coming = self._sizes[first], self._sizes[first:last]
            count = next((k for k, other in enumerate(coming) if other != rows), len(coming))
            count = min(count, self._scripts[0].at_once(rows, len(self.stack.here)))
            pays = rows == self._sizes[0] or self._epochs > FEW
            jobs = self._ready(first, rows, count) if pays else None
            if jobs is None:
                yield from super().run(first, last)
                return
            self._make(jobs, rows, count)
            first += count
            yield count

    def _ready(self, first: int, rows: int, count: int) -> list[Job] | None:
        """What makes the next updates of every model; None where one has no script."""
        jobs: list[Job] = []
        for k in self.stack.here:
            own = self._scripts[k]
            own.begin(first, self._ends[first])
            job = own.ready(rows, count)
            if job is None:
                return None
            jobs.append(job)
        return jobs

    def _make(self, jobs: Sequence[Job], rows: int, count: int) -> None:
        """The updates, model by model. (Not on two threads at once: where two multiply at the same
        time, some OpenBLAS libraries give a wrong product in some hundred thousand.)
        """
        coming, here = self.stack.update.coming(count), self.stack.here
        for k, scalars in zip(here, coming, strict=True):
            self._scripts[k].fill(scalars)
        for job in jobs:
            job()
        for k in here:
            self._scripts[k].counters.advance(count, count, count * rows)
            self.stack.optimizers[k].t += count
        self.how = f"up to {self._scripts[0].at_once(rows, len(here))} updates of each in one call"

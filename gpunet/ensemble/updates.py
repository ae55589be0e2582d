"""The updates of a stack: one by one, or on a GPU as CUDA graphs, each launch for all models."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from gpunet.backend import Array
from gpunet.ensemble.gradients import Taped, Walked
from gpunet.ensemble.one_by_one import OneByOne, Order
from gpunet.ensemble.scripts import ByScript
from gpunet.ensemble.stack import Stack
from gpunet.fused import plan
from gpunet.fused.resident import Resident, gather
from gpunet.fused.step import Step
from gpunet.fused.walk import Fused, Stacked
from gpunet.loss import Loss
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups
from gpunet.train.launches import Launches, Sizes
from gpunet.train.phased import phases_of
from gpunet.train.updates import refusal


class FromDevice:
    """Updates on a GPU from data that lies there, fused, up to 50 in a launch of a CUDA graph,
    without a copy and without waiting, as `gpunet.train.updates.ResidentUpdates` makes them of one
    model; small networks in phases.

    found: the plan of a single model. groups: of the first; all have batches of the same sizes.
    phases: as for a `Trainer`.
    """

    def __init__(
        self, stack: Stack, feed: Feed, loss: Loss, found: plan.Plan, groups: Groups,
        phases: bool | str,
    ) -> None:  # fmt: skip
        self.stack, self.feed, self.plan = stack, feed, stack.plan(found)
        self.loss, self.groups, self.phases = loss, groups, phases
        xp, models = feed.xp, len(stack.models)
        self.launches = Launches(xp, self._update, capture=True, optional=True)
        self.order: Array = None  # (models, rows), or (rows,) for all
        self.losses = xp.zeros((models, len(feed)), np.float64)  # a batch has one row at least
        self.labels = feed.t.astype(np.int64, copy=False)
        self._batches: dict[int, Stacked] = {}
        self._x: dict[int, Array] = {}
        self._sizes: list[int] = []
        self._together: list[int] = []  # the models whose phases were looked for
        self._not_in_phases = "" if phases else "phases=False"

    @property
    def how(self) -> str:
        """In words."""
        why_not = f"; not in phases: {self._not_in_phases}" if self._not_in_phases else ""
        return self.launches.how + why_not

    def begin(self, order: Order) -> Array:
        """As in `OneByOne`."""
        if self.order is None:
            alone = len(order.rows) == 1
            shape = (len(self.feed),) if alone else (len(self.stack.models), len(self.feed))
            self.order = self.feed.xp.empty(shape, np.int64)
        self._rows = order.rows[0] if self.order.ndim == 1 else order.rows
        self.order[..., : self._rows.shape[-1]] = self.feed.xp.asarray(self._rows)
        self.launches.graphs.counters.set(row=0, batch=0)
        self._sizes = order.sizes
        return self.losses[:, : len(order.sizes)]

    def run(self, first: int, last: int) -> Generator[int, None, None]:
        """As in `OneByOne`."""
        self._choose()
        yield from self.launches.run(self._sizes[first:last])

    def _choose(self) -> None:
        """Phases for the models that are here now, where they fit. ValueError for phases=True where
        they do not.
        """
        if not self.phases or self._together == self.stack.here:
            return
        self._together = list(self.stack.here)
        found = phases_of([self._alone(k) for k in self._together], self.groups, self.phases)
        why_not = found if isinstance(found, str) else ""
        if why_not and self.phases is True:
            raise ValueError(f"phases=True: {why_not}")
        self.launches.phased = None if isinstance(found, str) else found
        self._not_in_phases = why_not

    def _alone(self, k: int) -> Resident:
        """The steps of model k, in its own order."""
        step = Step(self.stack.models[k], self.loss, self.stack.optimizers[k])
        order = self.order if self.order.ndim == 1 else self.order[k]
        counted = self.launches.graphs.counters
        return Resident(step, self.feed.x, self.feed.t, order, self.losses[k], counted)

    def _update(self, sizes: Sizes) -> None:
        """One update of all models, kernel by kernel."""
        (rows,), counted = sizes, self.launches.graphs.counters
        counted.begin_batch()
        if rows not in self._batches:
            self._batches[rows] = Stacked(self.plan, rows, self.feed.xp, len(self.stack.models))
            shape = (*self.order.shape[:-1], rows, self.plan.features)
            self._x[rows] = self.feed.xp.empty(shape, self.plan.dtype)
        batch, x = self._batches[rows], self._x[rows]
        gather(self.feed.x, self.order, counted.array, x, self.plan.scale())
        batch.work.order = self.order
        batch.run(x, self.labels, self.losses, counted.array, 1.0, False)
        self.stack.update()


def updating(
    stack: Stack, feed: Feed, loss: Loss, groups: Groups, phases: bool | str
) -> OneByOne | FromDevice:
    """The fastest way to make updates of this stack that fits. groups, phases: see `FromDevice`.
    ValueError for phases=True where nothing runs fused from data on a GPU.
    """
    found = plan.read(stack.models[0], loss)
    if isinstance(found, plan.Plan) and feed.xp is np:
        kind = ByScript if feed.in_memory and type(feed.x) is np.ndarray else OneByOne
        return kind(stack, feed, Walked(stack, found), "one by one, fused")
    why_not = found if isinstance(found, str) else refusal(loss, feed)
    if isinstance(found, plan.Plan) and why_not is None:
        if Fused(found).accepts(feed.x, feed.t):
            return FromDevice(stack, feed, loss, found, groups, phases)
        why_not = "the data is no rows of numbers with labels"
    if phases is True and feed.xp is not np:
        raise ValueError(f"phases=True: {why_not}")
    return OneByOne(stack, feed, Taped(stack, loss), f"one by one, on the tape: {why_not}")

"""Batches from data that lies on the GPU, in an order that lies there too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.counters import Counters
from gpunet.fused.step import Step
from gpunet.kernel import Kernel, together

GATHER = Kernel("nn/gather")
NOTE_LOSS = Kernel("nn/note_loss")


def fuses(step: Step, x: Array, t: Array) -> bool:
    """Whether batches of this data run fused: the model does, and t are labels."""
    return step.fused is not None and step.fused.accepts(x, t)


class Resident:
    """Runs batches of a `Step` from the rows that the device's counters point at.

    Args:
        x, t: all samples and targets, on the GPU.
        order: int64 (samples,), the rows of this epoch in their order.
        losses: float64; the mean loss of the epoch's n-th batch becomes its element n.
        counted: the counters.
    """

    def __init__(
        self, step: Step, x: Array, t: Array, order: Array, losses: Array, counted: Counters
    ) -> None:
        self.step, self.x, self.t = step, x, t
        self.order, self.losses, self.counters = order, losses, counted
        self.xp = array_module(x)
        self.fused = step.fused if fuses(step, x, t) else None
        self.labels = t.astype(np.int64, copy=False) if t.dtype.kind in "iu" else t
        dtypes = {p.dtype for p in step.model.parameters()}
        self.dtype = next(iter(dtypes)) if len(dtypes) == 1 else x.dtype
        self._x: dict[int, Array] = {}
        self._t: dict[int, Array] = {}
        self._passed: dict[tuple[int, bool], Array] = {}

    def run(self, rows: int, share: Any, add: bool, ends: bool) -> None:
        """Loss and gradients of the next batch, of `rows` rows.

        share, add: as for `Step.gradients`. ends: an update follows.
        """
        self.counters.begin_batch()
        fused = self.fused if self.step.holds() else None
        dtype, scale = (self.dtype, fused.plan.scale()) if fused else (self.x.dtype, 1.0)
        x = self._gathered(self._x, self.x, rows, dtype, scale)
        if fused is None:
            self._on_tape(x, rows, share, add, ends)
            return
        batch = fused.batch(rows, self.xp)
        batch.work.order, batch.work.ends_update = self.order, ends
        share = 1.0 if share is None else share
        batch.run(x, self.labels, self.losses, self.counters.array, share, add)
        batch.work.order = None

    def _on_tape(self, x: Array, rows: int, share: Any, add: bool, ends: bool) -> None:
        t = self._gathered(self._t, self.t, rows, self.t.dtype, 1.0)
        key = rows, ends
        if key not in self._passed:
            self._passed[key] = self.xp.array([int(ends), 1, rows, 1], np.int64)
        self.counters.tick(self._passed[key])
        loss = self.step.gradients(x, t, share, add)
        NOTE_LOSS.launch(self.xp, loss=loss, counters=self.counters.array, losses=self.losses)

    def _gathered(
        self, kept: dict[int, Array], data: Array, rows: int, dtype: Any, scale: float
    ) -> Array:
        """The next rows of `data`, scaled, in a buffer of their own for each number of rows; the
        counters' `next` becomes its `now`.
        """
        if rows not in kept:
            kept[rows] = self.xp.empty((rows, *data.shape[1:]), dtype)
        gather(data, self.order, self.counters.array, kept[rows], scale)
        return kept[rows]


def gather(data: Array, order: Array, counted: Array, y: Array, scale: float) -> None:
    """The rows of `data` that come next, times `scale`, into y; the counters' `next` becomes their
    `now`.

    order: int64, the rows of an epoch; or of several models, (models, rows), where y has an axis of
    models, too.
    """
    *models, rows = y.shape[: order.ndim]
    width = y.size // math.prod((*models, rows))
    n = together(width, data, y)
    sizes = {"width": width, "threads": width // n, "threads_in_all": y.size // n, "rows": rows}
    arrays = {"data": data, "order": order, "y": y, "counters": counted}
    turn = order.shape[1] if models else 0
    GATHER.launch(array_module(y), turn=turn, scale=scale, **sizes, **arrays)

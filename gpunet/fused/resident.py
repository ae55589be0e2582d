"""Batches from data that lies on the GPU, in an order that lies there too."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import clock
from gpunet.backend import Array, array_module
from gpunet.fused import kernels
from gpunet.fused.step import Step


def fuses(step: Step, x: Array, t: Array) -> bool:
    """Whether batches of this data run fused: the model does, and t are labels."""
    return step.device is not None and step.device.accepts(x, t)


class Resident:
    """Runs batches of a `Step` from the rows that the device's clock points at.

    Args:
        x, t: all samples and targets, on the GPU.
        order: int64 (samples,), the rows of this epoch in their order.
        losses: float64; the mean loss of the epoch's n-th batch becomes its element n.
        counter: the clock.
    """

    def __init__(
        self, step: Step, x: Array, t: Array, order: Array, losses: Array, counter: clock.Clock
    ) -> None:
        self.step, self.x, self.t = step, x, t
        self.order, self.losses, self.clock = order, losses, counter
        self.xp = array_module(x)
        self.device = step.device if fuses(step, x, t) else None
        self.labels = t.astype(np.int64, copy=False) if t.dtype.kind in "iu" else t
        self.hits = self.xp.zeros(len(losses), np.int64)
        dtypes = {p.dtype for p in step.model.parameters()}
        self.dtype = next(iter(dtypes)) if len(dtypes) == 1 else x.dtype
        self._x: dict[int, Array] = {}
        self._t: dict[int, Array] = {}
        self._passed: dict[tuple[int, bool], Array] = {}

    def run(self, rows: int, share: Any, add: bool, ends: bool) -> None:
        """Loss and gradients of the next batch, of `rows` rows.

        share, add: as for `Step.gradients`. ends: an update follows.
        """
        self.clock.begin()
        device = self.device if self.step.holds() else None
        dtype, scale = (self.dtype, device.plan.scale()) if device else (self.x.dtype, 1.0)
        x = self._gathered(self._x, self.x, rows, dtype, scale)
        if device is None:
            self._on_tape(x, rows, share, add, ends)
            return
        options = {"share": 1.0 if share is None else share, "add": add, "ends_update": ends}
        batch = device.batch(rows, self.xp)
        batch.run(x, self.labels, self.losses, self.hits, order=self.order, **options)

    def _on_tape(self, x: Array, rows: int, share: Any, add: bool, ends: bool) -> None:
        t = self._gathered(self._t, self.t, rows, self.t.dtype, 1.0)
        key = rows, ends
        if key not in self._passed:
            self._passed[key] = self.xp.array([int(ends), 1, rows, 1], np.int64)
        kernels.tick(self.clock.array, self._passed[key])
        loss = self.step.gradients(x, t, share, add)
        kernels.note_loss(loss, self.clock.array, self.losses)

    def _gathered(
        self, kept: dict[int, Array], data: Array, rows: int, dtype: Any, scale: float
    ) -> Array:
        """The next rows of `data`, scaled, in a buffer of their own for each number of rows."""
        if rows not in kept:
            kept[rows] = self.xp.empty((rows, *data.shape[1:]), dtype)
        y = kept[rows]
        kernels.gather(data, self.order, self.clock.array, y.reshape(rows, -1), scale)
        return y

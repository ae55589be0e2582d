"""The updates of a stack, one by one."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from gpunet.backend import Array
from gpunet.ensemble.gradients import Gradients, Walked
from gpunet.ensemble.stack import Stack
from gpunet.train.feed import Feed


class Order(NamedTuple):
    """The rows of an epoch's batches. rows: int64 (models, rows), or (1, rows) where all have the
    same, on the host. sizes: rows of each batch.
    """

    rows: Array
    sizes: list[int]


class OneByOne:
    """Updates from batches that the feed hands out.

    how: in words.
    """

    def __init__(self, stack: Stack, feed: Feed, gradients: Gradients, how: str) -> None:
        self.stack, self.feed, self.gradients, self.how = stack, feed, gradients, how

    def begin(self, order: Order) -> Array:
        """An epoch in this order. Returns what `run` writes: float64 (models, batches), each one's
        mean loss before the update.
        """
        self._rows = order.rows if self.feed.streams else self.feed.xp.asarray(order.rows)
        self._ends = np.cumsum([0, *order.sizes]).tolist()
        self._losses = self.feed.xp.zeros((len(self.stack.models), len(order.sizes)), np.float64)
        return self._losses

    def run(self, first: int, last: int) -> Generator[int, None, None]:
        """The epoch's updates from `first` on; yields how many were made since the last time."""
        self.stack.update.ready(last - first)
        for k in range(first, last):
            rows = self._rows[:, self._ends[k] : self._ends[k + 1]]
            self.gradients(*self._batch(rows), self._losses[:, k])
            self.stack.update()
            yield 1

    def _batch(self, rows: Array) -> tuple[Array, Array]:
        """x and t of these rows: with an axis of models, or (for the walk) without one where all
        have the same.
        """
        count = len(self.stack.models)
        alone = len(rows) == 1 and count > 1
        x, t = self.feed.rows(rows.reshape(-1))
        if alone and isinstance(self.gradients, Walked):
            return x, t
        x, t = x.reshape(*rows.shape, *x.shape[1:]), t.reshape(*rows.shape, *t.shape[1:])
        if alone:
            x, t = (self.feed.xp.broadcast_to(a, (count, *a.shape[1:])) for a in (x, t))
        return x, t

"""Which rows make a batch, and which batches an update, in each epoch."""

from __future__ import annotations

import numpy as np

from gpunet.data import batches
from gpunet.train.feed import Feed, Group


class Groups:
    """The groups of an epoch's batches, each of whose gradients make one update.

    Args:
        batch_size, seed, drop_last: as for `gpunet.data.batches`.
        accumulate: batches an update.
        least: rows that a batch must have; a last one of fewer is left out.

    size, updates: batches and updates an epoch. rows: of the largest batch.

    ValueError: a setting that does not fit, or no batch of at least `least` rows.
    """

    def __init__(
        self,
        feed: Feed,
        batch_size: int | None,
        seed: int | None,
        accumulate: int,
        drop_last: bool,
        least: int,
    ) -> None:
        self._feed, self._accumulate, self._least = feed, accumulate, least
        self._order = batch_size, seed, drop_last
        batches = self._batches(0)
        self.size, self.rows = len(batches), max(map(len, batches))
        self.updates = -(-self.size // accumulate)
        self.accumulates = accumulate > 1

    def of(self, epoch: int) -> list[Group]:
        """Those of an epoch, counted from 0, as arrays of row numbers where the data is held."""
        rows = self._feed.moved(self._batches(epoch))
        return [rows[k : k + self._accumulate] for k in range(0, len(rows), self._accumulate)]

    def _batches(self, epoch: int) -> list[np.ndarray]:
        batch_size, seed, drop_last = self._order
        given = batches(len(self._feed), batch_size, seed, epoch, drop_last)
        rows = [self._feed.numbered(batch) for batch in given]
        if len(rows[-1]) >= self._least:
            return rows
        if len(rows[0]) < self._least:
            raise ValueError(
                f"BatchNorm needs at least {self._least} rows a batch; give a larger batch_size, "
                "or more data"
            )
        return rows[:-1]

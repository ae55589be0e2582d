"""Which rows make a batch, and which batches an update, in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from gpunet.backend import Array
from gpunet.data import batches
from gpunet.train.feed import Feed, Group


class Batches(Sequence[Array]):
    """Some of an epoch's batches, each as an array of row numbers where the data is held, which is
    made when it is asked for.
    """

    def __init__(self, epoch: Epoch, numbers: range) -> None:
        self._epoch, self._numbers = epoch, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, k: int) -> Array: ...
    @overload
    def __getitem__(self, k: slice) -> Batches: ...
    def __getitem__(self, k: int | slice) -> Array | Batches:
        if isinstance(k, slice):
            return Batches(self._epoch, self._numbers[k])
        return self._epoch.batch(self._numbers[k])


class Epoch(Sequence[Group]):
    """The groups of an epoch, `accumulate` batches each, the last one perhaps fewer.

    rows: the numbers of all rows in their order, int64 on the host. sizes: rows of each batch.
    """

    def __init__(self, feed: Feed, given: Sequence[np.ndarray[Any, Any]], accumulate: int) -> None:
        self._feed, self.accumulate = feed, accumulate
        self.rows = np.concatenate(given).astype(np.int64, copy=False)
        self.sizes = [len(batch) for batch in given]
        self._ends = np.cumsum([0, *self.sizes]).tolist()

    def __len__(self) -> int:
        return -(-len(self.sizes) // self.accumulate)

    @overload
    def __getitem__(self, k: int) -> Group: ...
    @overload
    def __getitem__(self, k: slice) -> list[Group]: ...
    def __getitem__(self, k: int | slice) -> Group | list[Group]:
        if isinstance(k, slice):
            return [self[j] for j in range(*k.indices(len(self)))]
        if not -len(self) <= k < len(self):
            raise IndexError(f"update {k} of an epoch of {len(self)}")
        first = k % len(self) * self.accumulate
        return Batches(self, range(first, min(first + self.accumulate, len(self.sizes))))

    def batch(self, number: int) -> Array:
        """Its row numbers, where the data is held."""
        return self._moved[self._ends[number] : self._ends[number + 1]]

    @cached_property
    def _moved(self) -> Array:
        return self._feed.moved([self.rows])[0]


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

    def of(self, epoch: int) -> Epoch:
        """Those of an epoch, counted from 0."""
        return Epoch(self._feed, self._batches(epoch), self._accumulate)

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

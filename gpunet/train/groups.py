"""Which rows make a batch, and which batches an update, in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from gpunet.backend import Array
from gpunet.data.batches import batch_sizes
from gpunet.data.order import integer, permutations
from gpunet.train.feed import Feed, Group

Rows: TypeAlias = NDArray[np.int64]


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

    def __init__(self, feed: Feed, rows: Rows, sizes: Sequence[int], accumulate: int) -> None:
        self._feed, self.accumulate = feed, accumulate
        self.rows, self.sizes = rows, sizes

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
    def _ends(self) -> list[int]:
        return [0, *np.cumsum(self.sizes).tolist()]

    @cached_property
    def _moved(self) -> Array:
        return self._feed.moved([self.rows])[0]


class Groups:
    """The groups of an epoch's batches, each of whose gradients make one update.

    Args:
        batch_size, seed, drop_last: as for `gpunet.data.batches`.
        accumulate: batches an update.
        least: rows that a batch must have; a last one of fewer is left out.

    sizes: rows of each batch. size, updates: batches and updates an epoch. rows: of the largest
        batch.

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
        self._feed, self._accumulate = feed, accumulate
        self._seed = None if seed is None else integer("seed", seed, 0, 2**64)
        self.sizes = batch_sizes(len(feed), batch_size, drop_last)
        if self.sizes[0] < least:
            raise ValueError(
                f"BatchNorm needs at least {least} rows a batch; give a larger batch_size, or more "
                "data"
            )
        if self.sizes[-1] < least:
            self.sizes.pop()
        self.size, self.rows = len(self.sizes), self.sizes[0]
        self.updates = -(-self.size // accumulate)
        self.accumulates = accumulate > 1

    def of(self, epoch: int) -> Epoch:
        """Those of an epoch, counted from 0."""
        return self.along(self.orders([(self._seed, epoch)])[0])

    def orders(self, epochs: Sequence[tuple[int | None, int]]) -> Rows:
        """The rows of epochs in their order, int64 (len(epochs), rows), on the host: of each pair
        (seed, epoch), as they lie where the seeds are None.
        """
        n = len(self._feed)
        shuffled = [(seed, epoch) for seed, epoch in epochs if seed is not None]
        found = permutations(n, shuffled) if shuffled else np.arange(n)[None]
        rows: Rows = self._feed.numbered(found[:, : sum(self.sizes)])
        return rows

    def along(self, rows: Rows) -> Epoch:
        """The groups of an epoch with its rows in this order."""
        return Epoch(self._feed, rows, self.sizes, self._accumulate)

"""The rows of each mini-batch, as indices: nothing here knows where the data lives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from gpunet.data.order import integer, permutation


def batches(
    n: int,
    batch_size: int | None,
    seed: int | None = None,
    epoch: int = 0,
    drop_last: bool = False,
) -> Iterator[NDArray[np.int64]]:
    """Index arrays (int64, 1-D) that together visit each of n rows once.

    batch_size: rows in a batch; the last batch holds what is left. None is one batch of all rows.
    seed: shuffle by `permutation(n, seed, epoch)`; None keeps the rows in their order.
    drop_last: leave out a last batch that is smaller than batch_size.

    Raises TypeError or ValueError, at the call and not at the first batch, where an argument is
    out of range or no batch would be left.
    """
    sizes = batch_sizes(n, batch_size, drop_last)
    order = np.arange(n, dtype=np.int64) if seed is None else permutation(n, seed, epoch)
    ends = accumulate(sizes)
    return (order[end - size : end] for size, end in zip(sizes, ends, strict=True))


def batch_sizes(n: int, batch_size: int | None, drop_last: bool = False) -> list[int]:
    """The rows of each of these batches, and what is raised."""
    n = integer("n", n, 1)
    size = n if batch_size is None else integer("batch_size", batch_size, 1)
    if drop_last and size > n:
        raise ValueError(f"drop_last leaves no batch: batch_size is {size}, n is {n}")
    rest = [n % size] if n % size and not drop_last else []
    return [size] * (n // size) + rest

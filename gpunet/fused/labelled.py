"""The labels of a batch, and where its loss goes."""

from __future__ import annotations

from typing import NamedTuple

from gpunet.backend import Array


class Labelled(NamedTuple):
    """labels: int64 (rows,), on the CPU in range. losses: float64, (); set to the mean loss.

    On a GPU, with an `order` (int64, the rows of an epoch), labels are those of all samples, losses
    those of all batches, and the batch is the one that the counters point at: it takes the order's
    rows from `row` on, its loss becomes element `batch`, and the counters go on, their `update` if
    `ends_update`.
    """

    labels: Array
    losses: Array
    order: Array | None = None
    ends_update: bool = True

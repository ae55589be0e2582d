"""gpunet.train.groups: every row once an epoch, so many batches an update, none too small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.data import batches
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups


def groups(rows: int, device: str = "cpu", least: int = 1, **given: Any) -> Groups:
    model = gn.Sequential(gn.Affine(2, 3)).to(device)
    feed = Feed((np.ones((rows, 2)), np.zeros(rows, int)), model, gn.SoftmaxWithLoss(), "train")
    options = {"batch_size": 3, "seed": 0, "accumulate": 1, "drop_last": False} | given
    return Groups(feed, **options, least=least)


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_the_batches_in_their_order(accumulate: int, device: str) -> None:
    for epoch in (0, 3):
        found = groups(11, device, accumulate=accumulate).of(epoch)
        assert all(len(group) == accumulate for group in found[:-1])
        flat = [to_host(rows) for group in found for rows in group]
        for rows, wanted in zip(flat, batches(11, 3, 0, epoch), strict=True):
            np.testing.assert_array_equal(rows, wanted)


def test_the_orders_of_many_epochs_at_once() -> None:
    """Those of each, of the rows that count, in whole batches."""
    model, weight = gn.Sequential(gn.Affine(2, 3)), np.arange(11) % 3 > 0
    feed = Feed((np.ones((11, 2)), np.zeros(11, int), weight), model, gn.SoftmaxWithLoss(), "train")
    found, epochs = Groups(feed, 3, 5, 1, True, 1), [(5, 0), (6, 0), (5, 4)]
    orders = found.orders(epochs)
    assert orders.shape == (3, 6)
    for own, (seed, epoch) in zip(orders, epochs, strict=True):
        alone = Groups(feed, 3, seed, 1, True, 1).of(epoch)
        np.testing.assert_array_equal(own, alone.rows)
        np.testing.assert_array_equal(own[3:], found.along(own)[1][0])
    assert found.orders([(None, 0)]).tolist() == [[1, 2, 4, 5, 7, 8]]


@pytest.mark.parametrize(("rows", "least", "sizes"), [(10, 1, [3, 3, 3, 1]), (10, 2, [3, 3, 3])])
def test_a_batch_that_is_too_small_is_left_out(rows: int, least: int, sizes: list[int]) -> None:
    found = groups(rows, least=least)
    assert [len(batch) for group in found.of(0) for batch in group] == sizes
    assert found.size == len(sizes)


def test_only_batches_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="BatchNorm needs at least 2 rows a batch"):
        groups(4, batch_size=1, least=2)

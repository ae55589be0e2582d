"""The counters: what they hold, and who may go by them. Steps that do: tests/test_graphs.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import counters
from gpunet.counters import Counters


def test_what_the_host_sets_is_what_the_next_batch_finds(cp: Any) -> None:
    counted = Counters(cp)
    counted.set(row=7, call=2)
    assert counted.now == [0, 2, 7, 0]
    assert counted.array.tolist() == [0, 0, 0, 0, 0, 2, 7, 0]


def test_the_host_counts_what_the_device_counts() -> None:
    counted = Counters(np)
    dropout = gn.Dropout(0.5)
    optimizer = gn.SGD([gn.Parameter(np.ones(3))])
    counted.begin_batch()
    counted.enter(dropout)
    counted.enter(optimizer)
    counted.advance(updates=2, calls=6, rows=48)
    assert (counted.now, dropout.calls, optimizer.t) == ([2, 6, 48, 6], 6, 2)


def test_nobody_counts_twice_in_a_batch() -> None:
    counted, dropout = Counters(np), gn.Dropout(0.5)
    for _ in range(2):
        counted.begin_batch()
        counted.enter(dropout)
    with pytest.raises(RuntimeError, match="uses Dropout twice"):
        counted.enter(dropout)


def test_outside_a_captured_step_they_stand_still(xp: Any) -> None:
    assert counters.current() is None
    assert counters.array(xp).tolist() == [0] * 8
    counted = Counters(xp)
    with counters.use(counted):
        assert counters.current() is counted
        assert counters.array(xp) is counted.array
    assert counters.current() is None

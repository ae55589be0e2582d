"""The clock: what it holds, and who may go by it. Steps that do: tests/test_replay.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import clock


def test_what_the_host_sets_is_what_the_next_batch_finds(cp: Any) -> None:
    counter = clock.Clock(cp)
    counter.set(row=7, call=2)
    assert counter.now == [0, 2, 7, 0]
    assert counter.array.tolist() == [0, 0, 0, 0, 0, 2, 7, 0]


def test_the_host_counts_what_the_device_counts() -> None:
    counter = clock.Clock(np)
    dropout = gn.Dropout(0.5)
    optimizer = gn.SGD([gn.Parameter(np.ones(3))])
    counter.begin()
    counter.follow(dropout)
    counter.follow(optimizer)
    counter.advance(updates=2, calls=6, rows=48)
    assert (counter.now, dropout.calls, optimizer.t) == ([2, 6, 48, 6], 6, 2)


def test_nobody_follows_twice_in_a_batch() -> None:
    counter, dropout = clock.Clock(np), gn.Dropout(0.5)
    for _ in range(2):
        counter.begin()
        counter.follow(dropout)
    with pytest.raises(RuntimeError, match="uses Dropout twice"):
        counter.follow(dropout)


def test_outside_a_recording_it_stands_still(xp: Any) -> None:
    assert clock.recorded() is None
    assert clock.array(xp).tolist() == [0] * 8
    counter = clock.Clock(xp)
    with clock.recording(counter):
        assert clock.recorded() is counter
        assert clock.array(xp) is counter.array
    assert clock.recorded() is None

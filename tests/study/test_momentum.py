"""gpunet.study.momentum: each of its tables says what it is there for."""

from __future__ import annotations

import pytest

from gpunet.study.momentum import momentum
from tests.console import Run, assert_one_line

VELOCITY, SWINGS, THROWN, DEPTH = momentum((0.0, 0.9, 1.0))


def test_the_velocity_has_a_bound_below_1_and_none_at_1() -> None:
    plain, heavy, free = VELOCITY.rows
    assert plain[1:] == pytest.approx([0.1] * 5)
    assert heavy[-2] == pytest.approx(heavy[-1]) == pytest.approx(1)
    assert free[1:5] == pytest.approx([0.1, 1, 10, 20])


def test_momentum_swings_and_sgd_does_not() -> None:
    plain, heavy, free = SWINGS.rows
    assert plain[1:3] == (0, 0)
    assert heavy[1] > 30
    assert heavy[3] < 1e-3 < plain[3] < free[3]


def test_it_can_leave_the_global_minimum() -> None:
    assert [row[-1] for row in THROWN.rows] == [
        "the global minimum",
        "the local minimum",
        "none: it goes on",
    ]


def test_the_shallow_is_left_and_the_deep_is_not() -> None:
    assert {row[2] for row in DEPTH.rows} == {"stays"}
    assert [row[3] for row in DEPTH.rows] == ["stays", "leaves", "leaves", "leaves"]


def test_a_momentum_that_is_none(gpunet: Run) -> None:
    assert_one_line(gpunet("study", "momentum", "--alphas", "2"), "momentum must be a number")

"""gpunet.schedules: values worked out by hand."""

from __future__ import annotations

import math

import pytest

from gpunet import schedules


def test_constant() -> None:
    lr = schedules.constant(0.3)
    assert [lr(t) for t in (0, 1, 10**9)] == [0.3, 0.3, 0.3]


def test_step_falls_at_every_multiple() -> None:
    lr = schedules.step(1.0, every=3, factor=0.5)
    assert [lr(t) for t in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_exponential() -> None:
    lr = schedules.exponential(2.0, 0.5)
    assert [lr(t) for t in range(4)] == [2, 1, 0.5, 0.25]


def test_inverse_time() -> None:
    lr = schedules.inverse_time(1.0, 0.5)
    assert [lr(t) for t in (0, 1, 2, 6)] == [1, 1 / 1.5, 0.5, 0.25]


def test_cosine_goes_half_a_wave_then_stays() -> None:
    lr = schedules.cosine(1.0, 4, final=0.2)
    quarter = 0.2 + 0.4 * (1 + math.sqrt(0.5))
    expected = [1.0, quarter, 0.6, 1.2 - quarter, 0.2, 0.2, 0.2]
    assert [lr(t) for t in range(6)] + [lr(1000)] == pytest.approx(expected, rel=1e-15)
    assert lr(4) == 0.2


def test_warmup_rises_and_hands_over() -> None:
    lr = schedules.warmup(0.4, 4)
    assert [lr(t) for t in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    lr = schedules.warmup(schedules.step(1.0, 2, 0.1), 2)
    assert [lr(t) for t in range(6)] == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.1, 0.1])


def test_warmups_nest() -> None:
    lr = schedules.warmup(schedules.warmup(schedules.cosine(1.0, 2), 2), 2)
    assert [lr(t) for t in range(7)] == pytest.approx([0.25, 0.5, 0.5, 1.0, 1.0, 0.5, 0.0])


def test_piecewise_changes_at_its_boundaries() -> None:
    lr = schedules.piecewise([2, 5], [1.0, 0.1, 0.01])
    assert [lr(t) for t in range(7)] == [1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert schedules.piecewise([], [0.5])(3) == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.step(1.0, 0), "every"),
        (lambda: schedules.cosine(1.0, 0), "steps"),
        (lambda: schedules.cosine(1.0, math.nan), "steps"),
        (lambda: schedules.warmup(1.0, -1), "steps"),
        (lambda: schedules.inverse_time(1.0, -0.5), "decay"),
        (lambda: schedules.exponential(1.0, 0.0), "rate"),
        (lambda: schedules.piecewise([1], [1.0]), "1 boundaries need 2 values, got 1"),
        (lambda: schedules.piecewise([3, 3], [1, 2, 3]), "boundaries must rise"),
        (lambda: schedules.piecewise([3, 1], [1, 2, 3]), "boundaries must rise"),
    ],
)
def test_bad_arguments_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

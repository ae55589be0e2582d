"""Statistics whose answers are known: results are made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from gpunet.study.compare.comparison import Cell, Stat, Target, compare, ties
from gpunet.study.compare.runs import Result

Make = Callable[..., Result]


def cell(make: Make, *losses: float, **others: object) -> Cell:
    return Cell(0.1, [make(seed=k, loss=loss, **others) for k, loss in enumerate(losses)])


def test_mean_and_spread() -> None:
    assert Stat.of([1.0, 2.0, 3.0]) == Stat(2.0, 1.0)
    assert math.isnan(Stat.of([1.0]).sd)
    assert Stat.of([1.0, math.inf]).mean == math.inf


def test_ties_are_decided_by_the_spread(make: Make) -> None:
    a = cell(make, 0.50, 0.51, 0.52)
    assert ties(a, cell(make, 0.51, 0.52, 0.53))
    assert not ties(a, cell(make, 0.60, 0.61, 0.62))
    assert ties(a, cell(make, 0.40, 0.60, 0.80)), "a large spread hides the difference"
    assert ties(a, a)


def test_the_margin_is_that_of_welch(make: Make) -> None:
    """Equal deviations s, 3 seeds each: 4 degrees of freedom, 2.776 s sqrt(2/3)."""
    s, a = 0.01, cell(make, 0.50, 0.51, 0.52)
    limit = 2.776 * s * math.sqrt(2 / 3)
    for factor, tie in ((0.99, True), (1.01, False)):
        gap = limit * factor
        assert ties(a, cell(make, 0.50 + gap, 0.51 + gap, 0.52 + gap)) is tie


def test_many_seeds_do_not_make_less_than_the_spread_a_difference(make: Make) -> None:
    losses = [0.5 + 0.01 * (-1) ** k for k in range(40)]
    assert ties(cell(make, *losses), cell(make, *[x + 0.009 for x in losses]))
    assert not ties(cell(make, *losses), cell(make, *[x + 0.012 for x in losses]))


def test_no_spread_at_all(make: Make) -> None:
    assert not ties(cell(make, 0.5, 0.5), cell(make, 0.6, 0.6))
    assert ties(cell(make, 0.5, 0.5), cell(make, 0.5, 0.5))


def test_one_seed_tells_nothing_apart_except_divergence(make: Make) -> None:
    assert ties(cell(make, 0.5), cell(make, 0.9))
    assert not ties(cell(make, 0.5), cell(make, 0.9, train=(2.0, 3.0, 4.0)))
    never = Cell(0.1, [replace(make(), valid_loss=[math.inf] * 3)])
    assert not ties(cell(make, 0.5, 0.6), never)


def test_the_best_rate_is_that_of_the_lowest_mean(make: Make) -> None:
    results = [
        make(lr=lr, seed=seed, loss=loss)
        for lr, losses in ((0.1, (0.4, 0.8)), (0.01, (0.5, 0.5)), (1.0, (0.9, 0.9)))
        for seed, loss in enumerate(losses)
    ]
    [summary] = compare(results, 6).summaries
    assert [c.lr for c in summary.cells] == [0.01, 0.1, 1.0]
    assert summary.best.lr == 0.01
    assert summary.edge == "lowest"


def test_a_diverged_rate_is_not_the_best(make: Make) -> None:
    worse = make(lr=0.1, loss=0.6)
    burst = make(lr=1.0, loss=0.5, train=(2.0, 1.0, 3.0))
    [summary] = compare([worse, burst], 2).summaries
    assert summary.best.lr == 0.1
    assert summary.diverged == [burst]
    first, last = compare(
        [make("sgd", loss=0.6), make("adam", 1.0, train=(2.0, 3.0, 3.0))], 2
    ).summaries
    assert (first.name, last.name) == ("SGD", "Adam")


def test_no_edge_inside_or_of_a_single_rate(make: Make) -> None:
    three = [make(lr=lr, loss=loss) for lr, loss in ((0.1, 0.6), (1.0, 0.5), (10.0, 0.6))]
    assert compare(three, 3).summaries[0].edge is None
    assert compare(three[:1], 1).summaries[0].edge is None
    assert compare(three[:2], 2).summaries[0].edge == "highest"
    assert compare([make("cocob", None)], 1).summaries[0].edge is None


def test_the_unbroken_range_that_works(make: Make) -> None:
    good, bad = (0.1, 0.5, 0.9), (0.1, 0.2, 0.3)
    by_rate = {1e-4: good, 1e-3: bad, 1e-2: good, 1e-1: good, 1.0: good, 10.0: bad}
    results = [
        make(lr=lr, seed=seed, accuracy=curve, loss=0.4 if lr == 0.1 else 0.5)
        for lr, curve in by_rate.items()
        for seed in (0, 1)
    ]
    found = compare(results, 12, target=0.8).summaries[0].workable
    assert found is not None
    assert (found.low, found.high, found.open_low, found.open_high) == (1e-2, 1.0, False, False)
    assert found.decades == pytest.approx(2.0)
    # One seed that fails, or that diverges, breaks the range.
    fails = make(lr=1.0, seed=2, accuracy=bad)
    assert (
        compare([*results, fails], 13, 0.8).summaries[0].cells[4].works(Target(True, 0.8)) is False
    )
    burst = [r for r in results if (r.run.lr, r.run.seed) != (1.0, 1)]
    burst.append(make(lr=1.0, seed=1, train=(2.0, 1.0, 3.0)))
    narrowed = compare(burst, 12, target=0.8).summaries[0].workable
    assert narrowed is not None
    assert narrowed.high == 0.1


def test_a_range_up_to_the_end_is_open(make: Make) -> None:
    found = compare([make(lr=0.1), make(lr=1.0)], 2, 0.8).summaries[0].workable
    assert found is not None
    assert (found.open_low, found.open_high) == (True, True)
    assert compare([make(lr=0.1)], 1, target=0.99).summaries[0].workable is None
    assert compare([make("cocob", None)], 1).summaries[0].workable is None


def test_the_target_that_is_not_given(make: Make) -> None:
    accurate = [make(accuracy=(0.1, 0.5, 0.987)), make("sgd", accuracy=(0.1, 0.5, 0.7))]
    assert compare(accurate, 2).target == Target(True, 0.96)
    numbers = [make(accuracy=None, loss=0.5), make("sgd", accuracy=None, loss=1.0)]
    found = compare(numbers, 2).target
    assert not found.accuracy
    assert found.value == pytest.approx(2.0 - 0.95 * 1.5)


def test_epochs_and_seconds_to_it_need_every_seed(make: Make) -> None:
    early, late = (0.1, 0.9, 0.9), (0.1, 0.2, 0.9)
    both = Cell(0.1, [make(accuracy=early), make(seed=1, accuracy=late)])
    target = Target(True, 0.9)
    assert both.epochs_to(target) == Stat.of([1.0, 2.0])
    assert both.seconds_to(target) == Stat.of([0.5, 1.0])
    never = Cell(0.1, [*both.results, make(seed=2, accuracy=(0.1, 0.2, 0.3))])
    assert never.epochs_to(target) is never.seconds_to(target) is None
    assert Target(False, 1.5).first(make()) == 1


def test_a_part_of_the_runs_is_compared_by_its_full_cells(make: Make) -> None:
    results = [make(lr=0.1, seed=k, loss=0.6) for k in (0, 1)] + [make(lr=1.0, loss=0.1)]
    found = compare(results, 6)
    assert found.summaries[0].best.lr == 0.1
    assert (found.done, found.planned, found.seeds) == (3, 6, 2)


def test_leaders_are_the_first_and_what_ties_with_it(make: Make) -> None:
    results = [
        make(name, seed=seed, loss=loss + 0.01 * seed)
        for name, loss in (("sgd", 0.505), ("adam", 0.5), ("lion", 0.9))
        for seed in range(3)
    ]
    found = compare(results, 9)
    assert [s.name for s in found.summaries] == ["Adam", "SGD", "Lion"]
    assert [s.name for s in found.leaders] == ["Adam", "SGD"]

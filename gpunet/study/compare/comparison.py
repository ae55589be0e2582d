"""Statistics of many runs: each optimizer at its best learning rate, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare.runs import Result

# Two-sided 95 % quantiles of Student's t; for more degrees of freedom the last, on the safe side.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# A target that is not given: this far below the best accuracy (whole percents), or for numbers
# this share of the way from the untrained network's loss to the best.
BELOW_BEST, SHARE_OF_WAY = 0.02, 0.95


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation over the seeds; the deviation of one is nan."""

    mean: float
    sd: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Stat:
        found = list(values)
        if not found or not all(math.isfinite(value) for value in found):
            return cls(math.inf if found else math.nan, math.nan)
        return cls(statistics.fmean(found), statistics.stdev(found) if found[1:] else math.nan)


@dataclass(frozen=True)
class Target:
    """What "good enough" means: a validation accuracy of at least, or a loss of at most, value."""

    accuracy: bool
    value: float

    def __str__(self) -> str:
        return f"{self.value:.1%}" if self.accuracy else f"loss {self.value:.4g}"

    def first(self, result: Result) -> int | None:
        """The first epoch at whose end it is reached."""
        if self.accuracy:
            found = [value >= self.value for value in result.valid_accuracy or ()]
        else:
            found = [value <= self.value for value in result.valid_loss]
        return found.index(True) if True in found else None


@dataclass(frozen=True)
class Cell:
    """One optimizer at one learning rate: a result for each seed."""

    lr: float | None
    results: Sequence[Result]

    @cached_property
    def loss(self) -> Stat:
        """Of the lowest validation losses."""
        return Stat.of(result.loss for result in self.results)

    @property
    def accuracy(self) -> Stat | None:
        """Validation accuracy at the epoch of the lowest loss."""
        found = [result.accuracy for result in self.results if result.accuracy is not None]
        return Stat.of(found) if found else None

    @property
    def test(self) -> Stat | None:
        """Test accuracy, or test loss for numbers, of the network of that epoch."""
        classes = self.accuracy is not None
        found = [r.test_accuracy if classes else r.test_loss for r in self.results]
        known = [value for value in found if value is not None]
        return Stat.of(known) if known else None

    @property
    def diverged(self) -> list[Result]:
        return [result for result in self.results if result.diverged]

    def epochs_to(self, target: Target) -> Stat | None:
        """None unless every seed gets there."""
        found = [target.first(result) for result in self.results]
        reached = [float(epoch) for epoch in found if epoch is not None]
        return Stat.of(reached) if len(reached) == len(found) else None

    def seconds_to(self, target: Target) -> Stat | None:
        """Training and validation until then; None unless every seed gets there."""
        found = [(result, target.first(result)) for result in self.results]
        reached = [result.seconds[epoch] for result, epoch in found if epoch is not None]
        return Stat.of(reached) if len(reached) == len(found) else None

    def works(self, target: Target) -> bool:
        """Every seed reaches the target, and none diverges."""
        return self.epochs_to(target) is not None and not self.diverged


@dataclass(frozen=True)
class Workable:
    """The unbroken run of tried learning rates around the best at which every seed works.

    open_low, open_high: it goes up to the end of what was tried, so it may be wider.
    """

    low: float
    high: float
    open_low: bool
    open_high: bool

    @property
    def decades(self) -> float:
        """log10(high / low): 0 if only one of the tried rates works."""
        return math.log10(self.high / self.low)


@dataclass(frozen=True)
class OptimizerSummary:
    """One optimizer. cells: by rising learning rate; best: that with the lowest mean loss, of
    those that did not diverge if there are any.
    """

    optimizer: str
    cells: Sequence[Cell]
    best: Cell
    workable: Workable | None

    @property
    def name(self) -> str:
        return OPTIMIZERS[self.optimizer].__name__

    @property
    def edge(self) -> str | None:
        """ "lowest" or "highest" if the best learning rate is the end of several tried."""
        if len(self.cells) == 1 or self.best.lr is None:
            return None
        ends = {self.cells[0].lr: "lowest", self.cells[-1].lr: "highest"}
        return ends.get(self.best.lr)

    @property
    def diverged(self) -> list[Result]:
        return [result for cell in self.cells for result in cell.diverged]

    @property
    def runs(self) -> int:
        return sum(len(cell.results) for cell in self.cells)


@dataclass(frozen=True)
class Comparison:
    """All of it. summaries: the lowest mean loss first; leaders: those that no other leaves behind
    by more than chance explains.

    planned: how many runs there should be; done: how many there are.
    """

    summaries: Sequence[OptimizerSummary]
    leaders: Sequence[OptimizerSummary]
    target: Target
    planned: int

    @property
    def done(self) -> int:
        return sum(summary.runs for summary in self.summaries)

    @property
    def seeds(self) -> int:
        """How many seeds the best learning rates were tried with, at the least."""
        return min(len(summary.best.results) for summary in self.summaries)


def ties(a: Cell, b: Cell) -> bool:
    """True unless the mean losses differ by more than chance between seeds explains."""
    return apart(a, b) <= 1


def apart(a: Cell, b: Cell) -> float:
    """The difference of the mean losses, by what chance between seeds explains: up to 1 is a tie.

    Chance explains either's standard deviation over the seeds, and half the 95 % confidence
    interval of the difference (Welch's t-test, which does not take the two deviations for equal).
    Where only one of them diverged it explains nothing, with fewer than two seeds all else.
    """
    if bool(a.diverged) != bool(b.diverged):
        return math.inf
    if not math.isfinite(a.loss.mean + b.loss.mean):
        return 0.0 if a.loss.mean == b.loss.mean else math.inf
    if min(len(a.results), len(b.results)) < 2:
        return 0.0
    gap, chance = abs(a.loss.mean - b.loss.mean), max(a.loss.sd, b.loss.sd, _margin(a, b))
    return gap / chance if chance else math.inf if gap else 0.0


def _margin(a: Cell, b: Cell) -> float:
    """Half the width of Welch's 95 % confidence interval of the difference of the mean losses."""
    parts = [(cell.loss.sd**2 / len(cell.results), len(cell.results)) for cell in (a, b)]
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0
    freedom = variance**2 / sum(part**2 / (n - 1) for part, n in parts)
    return T95[min(int(freedom + 1e-9), len(T95)) - 1] * math.sqrt(variance)


def compare(results: Iterable[Result], planned: int, target: float | None = None) -> Comparison:
    """Statistics of the results, one at least. target: accuracy or loss; None chooses one."""
    cells = _cells(results)
    best = {name: _best(found) for name, found in cells.items()}
    aim = _target(list(best.values()), target)
    summaries = [
        OptimizerSummary(
            optimizer=name,
            cells=found,
            best=best[name],
            workable=_workable(found, best[name], aim),
        )
        for name, found in cells.items()
    ]
    summaries.sort(key=lambda summary: _rank(summary.best))
    leaders = [s for k, s in enumerate(summaries) if behind(s, summaries[:k]) <= 1]
    return Comparison(summaries, leaders, aim, planned)


def behind(summary: OptimizerSummary, better: Sequence[OptimizerSummary]) -> float:
    """How far it lies behind any of those with a lower mean loss, as `apart` has it. (Of any, not
    of the first alone: where that varies much, it ties with all, and says nothing of the others.)
    """
    return max((apart(one.best, summary.best) for one in better), default=0.0)


def _cells(results: Iterable[Result]) -> Mapping[str, list[Cell]]:
    """By optimizer and rising learning rate, the seeds in order."""
    found: dict[str, dict[float | None, list[Result]]] = {}
    for r in sorted(results, key=lambda r: (r.run.lr or 0.0, r.run.seed)):
        found.setdefault(r.run.optimizer, {}).setdefault(r.run.lr, []).append(r)
    return {name: [Cell(lr, group) for lr, group in by.items()] for name, by in found.items()}


def _best(cells: Sequence[Cell]) -> Cell:
    """The lowest mean loss among those with as many seeds done as any, diverged ones last."""
    most = max(len(cell.results) for cell in cells)
    full = [cell for cell in cells if len(cell.results) == most]
    return min(full, key=_rank)


def _rank(cell: Cell) -> tuple[bool, float]:
    """What diverged comes last, however low its loss was before that."""
    return bool(cell.diverged), cell.loss.mean


def _target(cells: Sequence[Cell], given: float | None) -> Target:
    accuracies = [cell.accuracy.mean for cell in cells if cell.accuracy is not None]
    if given is not None:
        return Target(bool(accuracies), given)
    if accuracies:
        best = max(accuracies) - BELOW_BEST
        return Target(True, max(0.0, math.floor(best * 100 + 1e-9) / 100))
    best = min(cell.loss.mean for cell in cells)
    start = next((r.valid_loss[0] for r in cells[0].results if not r.failed), best)
    return Target(False, start - SHARE_OF_WAY * (start - best) if start > best else best)


def _workable(cells: Sequence[Cell], best: Cell, target: Target) -> Workable | None:
    """None without a learning rate, or where not even the best one works."""
    if best.lr is None or not best.works(target):
        return None
    low = high = list(cells).index(best)
    while low > 0 and cells[low - 1].works(target):
        low -= 1
    while high < len(cells) - 1 and cells[high + 1].works(target):
        high += 1
    rates = [cell.lr for cell in cells if cell.lr is not None]
    return Workable(
        low=rates[low], high=rates[high], open_low=low == 0, open_high=high == len(cells) - 1
    )

"""What the charts draw: curves over the epochs, and the loss over the learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpunet.study.compare.comparison import Comparison, OptimizerSummary
from gpunet.study.compare.runs import Result

LOSSES = {"valid_loss": "validation loss", "train_loss": "training loss"}
ERROR = {"valid_error": "validation error (1 - accuracy)"}


@dataclass(frozen=True)
class Point:
    """Mean, lowest and highest over the seeds."""

    x: float
    mean: float
    low: float
    high: float


def measures(comparison: Comparison) -> dict[str, str]:
    """Name and description of each curve there is; all are better when lower."""
    return {**LOSSES, **ERROR} if comparison.target.accuracy else LOSSES


def curve(summary: OptimizerSummary, measure: str) -> list[Point]:
    """At the best learning rate, one point an epoch from 0, as far as all seeds are finite; of
    those that did not fail.
    """
    columns = [_values(result, measure) for result in summary.best.results if not result.failed]
    points = []
    for epoch, values in enumerate(zip(*columns, strict=False)):
        if not all(map(math.isfinite, values)):
            break
        points.append(_point(float(epoch), values))
    return points


def _values(result: Result, measure: str) -> list[float]:
    if measure == "valid_error":
        return [1 - value for value in result.valid_accuracy or ()]
    return result.train_loss if measure == "train_loss" else result.valid_loss


def sensitivity(summary: OptimizerSummary) -> list[Point]:
    """The lowest validation loss at each learning rate; x is nan where there is none."""
    return [
        _point(math.nan if cell.lr is None else cell.lr, [result.loss for result in cell.results])
        for cell in summary.cells
    ]


def _point(x: float, values: Sequence[float]) -> Point:
    return Point(x, math.fsum(values) / len(values), min(values), max(values))


def ceiling(comparison: Comparison) -> float:
    """Losses above this are cut off: half as much again as the untrained network's."""
    best = [r for s in comparison.summaries for r in s.best.results if not r.failed]
    starts = [result.valid_loss[0] for result in best]
    return 1.5 * max(starts)


def rate_span(comparison: Comparison) -> tuple[float, float]:
    """The lowest and the highest learning rate that was tried; (1, 1) if there is none."""
    rates = [cell.lr for s in comparison.summaries for cell in s.cells if cell.lr is not None]
    return (min(rates), max(rates)) if rates else (1.0, 1.0)

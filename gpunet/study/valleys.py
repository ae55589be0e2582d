"""Narrow valleys: how many steps an optimizer needs where one direction is much steeper.

A bowl whose steepest curvature is `condition` times its least. Along the axes a rate for each
weight makes it round; turned by 45 degrees it does not, for no weight is steeper than the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.paths import descend
from gpunet.study.second_order import newton
from gpunet.study.tables import Cell, Table
from gpunet.tensor import Tensor

CONDITIONS = (1, 10, 100)
NAMES = ("sgd", "momentum", "adagrad", "adam")
STEPS, NEAR = 180, 1e-2  # of the first height
RATES = (1.9, 1.0, 0.5, 0.2, 0.05)


def valleys(conditions: Sequence[float] = CONDITIONS) -> list[Table]:
    """Steps at the best of some rates, in valleys along an axis and in turned ones.

    ValueError for a condition below 1.
    """
    for condition in conditions:
        if not 1 <= condition < math.inf:
            raise ValueError(f"a condition is a number from 1, got {condition:g}")
    return [_table(conditions, turned) for turned in (False, True)]


def valley(condition: float, turned: bool = False) -> Landscape:
    """(x² / condition + y²) / 2, or that turned by 45 degrees."""

    def function(p: Tensor) -> Tensor:
        x, y = p[..., 0], p[..., 1]
        if turned:
            x, y = (x + y) * math.sqrt(0.5), (y - x) * math.sqrt(0.5)
        return (x * x / condition + y * y) / 2

    x, y = math.sqrt(condition), 1.0  # equally high in both directions
    start = ((x - y) * math.sqrt(0.5), (x + y) * math.sqrt(0.5)) if turned else (x, y)
    return replace(
        LANDSCAPES["bowl"], name="valley", function=function, minima=((0.0, 0.0),), starts=(start,)
    )


def _table(conditions: Sequence[float], turned: bool) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for condition in conditions:
        place = valley(condition, turned)
        counts: list[Cell] = [_steps(place, name) for name in NAMES]
        rows.append((f"{condition:g}", *counts, len(newton(place, steps=STEPS))))
    where = "turned by 45 degrees" if turned else "along an axis"
    return Table(
        f"A valley {where}: steps to {NEAR:.0%} of the height, at the best of {len(RATES)} rates",
        ("condition", *(OPTIMIZERS[name].__name__ for name in NAMES), "Newton"),
        rows,
        "Here no weight is steeper than the other, and a rate for each is of no use."
        if turned
        else "SGD's steps grow with the condition. A rate for each weight makes the valley round.",
        words=1,
    )


def _steps(place: Landscape, name: str) -> Cell:
    """After which it stays below, at the rate where they are fewest."""
    least = STEPS  # twice as many are walked, for a path that comes back up
    for lr in RATES:
        path = descend(place, name, steps=min(STEPS, 2 * least), lr=lr)
        high = np.flatnonzero(path.values > NEAR * path.values[0])
        if not path.diverged and high[-1] < len(path):
            least = min(least, int(high[-1]) + 1)
    return least if least < STEPS else f"> {STEPS}"

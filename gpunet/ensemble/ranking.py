"""The models of an ensemble beside one another, the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from gpunet.ensemble.members import Member
from gpunet.train.history import Row

WIDEST = 60  # characters of a cell


def ranking(members: Sequence[Member]) -> list[Row]:
    """A row for each: its number, what it was given, what its best epoch came to, and its end."""
    rows = []
    for k, member in enumerate(members):
        history = member.history
        results = {name: v for name, v in history.best.items() if name not in ("seconds", "lr")}
        ended = {"epochs": len(history), "stopped": history.stopped}
        rows.append({"model": k, **member.given, **results, **ended})
    name = "valid_loss" if any("valid_loss" in row for row in rows) else "train_loss"
    return sorted(rows, key=lambda row: row.get(name, math.inf))


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """The names of their columns, and what each row has there; None where it has nothing."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for name in names] for row in rows]


def text(rows: Sequence[Row]) -> str:
    """Such rows as lines under a header, columns below one another."""
    names, values = cells(rows)
    shown = [names, *(list(map(_shown, own)) for own in values)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ("  ".join(map(str.ljust, line, widths)) for line in shown)
    return "\n".join(map(str.rstrip, lines))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else shorten(str(value), WIDEST, placeholder=" ...")

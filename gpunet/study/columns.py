"""Cells as lines of text with aligned columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def aligned(rows: Iterable[Sequence[str]], words: int) -> list[str]:
    """A line a row: the first `words` columns to the left, numbers after them to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        placed = [c.ljust(w) if k < words else c.rjust(w) for k, (c, w) in enumerate(cells)]
        lines.append("  ".join(placed).rstrip())
    return lines

"""Cells as lines of text with aligned columns."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence

GAP = 2  # blanks between columns
UNBOUNDED = 1_000_000  # columns: room for any table


def wide(words: str) -> int:
    """How many columns of a terminal the words take: a Korean letter takes two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in words
    )


def aligned(rows: Iterable[Sequence[str]], words: int) -> list[str]:
    """A line a row: the first `words` columns to the left, numbers after them to the right."""
    table = list(rows)
    widths = _widths(table)
    lines = []
    for row in table:
        cells = zip(row, widths, strict=True)
        blanks = [(c, " " * (w - wide(c))) for c, w in cells]
        placed = [c + gap if k < words else gap + c for k, (c, gap) in enumerate(blanks)]
        lines.append((" " * GAP).join(placed).rstrip())
    return lines


def folded(rows: Iterable[Sequence[str]], head: int, width: int) -> list[str]:
    """As `aligned`, all words, in blocks of columns that fit `width`, one below the other, each
    after the first `head` columns. A column that is wider stands alone.
    """
    table = list(rows)
    widths = _widths(table)
    own = sum(widths[:head]) + GAP * head
    lines: list[str] = []
    at = head
    while at < len(widths):
        end, used = at + 1, own + widths[at]
        while end < len(widths) and used + GAP + widths[end] <= width:
            used += GAP + widths[end]
            end += 1
        lines += [""] if lines else []
        lines += aligned([[*row[:head], *row[at:end]] for row in table], words=head + end - at)
        at = end
    return lines


def room() -> int:
    """The columns of the terminal; as many as one likes where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(wide, column)) for column in zip(*table, strict=True)]

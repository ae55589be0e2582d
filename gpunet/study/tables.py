"""What a study finds, as tables with a line that says what to notice in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpunet import notebook
from gpunet.study.columns import aligned
from gpunet.study.words import say

Cell = str | float | int


@dataclass(frozen=True)
class Table:
    """title: what was done. rows: words first (`words` columns), then numbers. notice: what to see
    in it. digits: of a number that is not whole.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    notice: str = ""
    words: int = 1
    digits: int = field(default=4, kw_only=True)

    def cells(self) -> list[tuple[str, ...]]:
        """The rows as text."""
        return [tuple(self._text(cell) for cell in row) for row in self.rows]

    def __str__(self) -> str:
        lines = aligned([self._head(), *self.cells()], self.words)
        words = [say(self.title), *(f"  {line}" for line in lines), say(self.notice)]
        return "\n".join(words).rstrip()

    def _head(self) -> list[str]:
        return [say(word) for word in self.head]

    def _repr_html_(self) -> str:
        return notebook.table(say(self.title), self._head(), self.cells())

    def _text(self, cell: Cell) -> str:
        return f"{cell:.{self.digits}g}" if isinstance(cell, float) else say(str(cell))


def report(tables: Sequence[Table]) -> str:
    """All of them, an empty line between two."""
    return "\n\n".join(map(str, tables))

"""Columns of a table as numbers: how a cell is read, and what a network is given for it.

A number stays one, and is filled where it is missing; a category becomes one column for each of its
values, and one for all others. What is done is told by plain numbers and names, so that a model
file can hold it and new rows are treated as those that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.data.cells import MISSING, Number
from gpunet.data.errors import shown, unusable
from gpunet.data.numbers import loosely, strict_float

Cells: TypeAlias = NDArray[Any]  # (n,): numbers, or objects such as text
OnePlace: TypeAlias = Callable[[int], str]  # what a row is called in an error
Kind: TypeAlias = Literal["number", "boolean", "category"]

# What float() and the like make of objects that are no numbers.
UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError)
TRUE = ("true", "yes", "y", "t", "on", "1", "1.0")
FALSE = ("false", "no", "n", "f", "off", "0", "0.0")


@dataclass(frozen=True)
class Feature:
    """What a network reads of one column.

    fill: what stands for a missing value, a number or the name of a category. flag: whether one
    more column says where it was missing, for it was so in training. values: a category's names, a
    column for each. other: whether a column stands for all other names; where none does, those have
    zeros alone.
    """

    name: str
    kind: Kind
    fill: float | str
    flag: bool = False
    values: tuple[str, ...] = ()
    other: bool = False

    @property
    def names(self) -> list[str]:
        """What the columns of numbers are called, such as "city=Seoul"."""
        if self.kind == "category":
            inside = [f"{self.name}={value}" for value in self.values]
            inside += [f"{self.name}=(other)"] if self.other else []
        else:
            inside = [self.name]
        return [*inside, f"{self.name} missing"] if self.flag else inside

    @property
    def filling(self) -> str:
        """What stands for a missing value, as text."""
        return f"{self.fill:g}" if isinstance(self.fill, float) else self.fill

    def encode(self, cells: Cells, number: Number, place: OnePlace) -> NDArray[np.float64]:
        """float64 (n, len(names)) for cells (n,). DataError for what cannot be read."""
        if self.kind == "category":
            texts = as_texts(cells)
            missing = np.array([text is None for text in texts])
            columns = self._one_hot(np.where(missing, self.fill, texts))
        else:
            read = boolean if self.kind == "boolean" else number
            values = as_numbers(cells, read, self.name, place)
            missing = np.isnan(values)
            columns = np.where(missing, self.fill, values).reshape(-1, 1)
        return np.column_stack([columns, missing]) if self.flag else columns

    def unseen(self, cells: Cells) -> list[str]:
        """The names among the cells of a category that training had not. (Where there is a column
        for others, it had others.)
        """
        if self.kind != "category" or self.other:
            return []
        return sorted({text for text in as_texts(cells) if text is not None} - {*self.values})

    def _one_hot(self, texts: Cells) -> NDArray[np.float64]:
        width = len(self.values) + self.other
        places = {value: k for k, value in enumerate(self.values)}
        found = np.fromiter((places.get(text, len(places)) for text in texts), np.int64, len(texts))
        columns: NDArray[np.float64] = (found[:, None] == np.arange(width)).astype(np.float64)
        return columns

    def config(self) -> dict[str, Any]:
        """As JSON values; `Feature(**config)` is equal to this one."""
        return asdict(self)


def encode(
    columns: Sequence[Cells],
    features: Sequence[Feature],
    number: Number,
    place: OnePlace,
) -> NDArray[np.float64]:
    """What a network reads of the columns, side by side: float64 (n, width)."""
    parts = [f.encode(c, number, place) for f, c in zip(features, columns, strict=True)]
    return np.column_stack(parts)


def as_numbers(cells: Cells, number: Number, name: str, place: OnePlace) -> NDArray[np.float64]:
    """float64 (n,), nan where a value is missing. DataError, with its place, for what is none."""
    if cells.dtype.kind in "biuf":
        return cells.astype(np.float64)
    with suppress(*UNREADABLE):  # of most columns: none is missing
        return np.fromiter(map(number, cells), np.float64, len(cells))
    values = np.full(len(cells), np.nan)
    known = np.flatnonzero([not is_missing(cell) for cell in cells.tolist()])
    try:
        values[known] = np.fromiter(map(number, cells[known]), np.float64, len(known))
    except UNREADABLE:
        row = next(row for row in known.tolist() if not _is_number(cells[row], number))
        where = f"{place(row)}, column {shown(name)}"
        expected = "yes or no" if number is boolean else "a number"
        raise unusable(where, expected, shown(cells[row]), "mend that cell") from None
    return values


def _is_number(cell: Any, number: Number) -> bool:
    try:
        number(cell)
    except UNREADABLE:
        return False
    return True


class _Texts(dict[str, str | None]):
    """What a cell's text is, made once for each of them."""

    def __missing__(self, cell: str) -> str | None:
        self[cell] = found = None if is_missing(cell) else cell.strip()
        return found


def as_texts(cells: Cells) -> Cells:
    """Objects (n,): text without spaces around it, None where a value is missing."""
    given, texts = cells.tolist(), np.empty(len(cells), object)
    if all(type(cell) is str for cell in given):
        texts[:] = list(map(_Texts().__getitem__, given))
    else:
        texts[:] = [None if is_missing(cell) else _text(cell) for cell in given]
    return texts


def is_missing(cell: object) -> bool:
    """Whether a cell is empty, a word for that, None, nan, or what pandas has for it."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))


def plain_number(cell: Any) -> float:
    """The number that a cell of an array or a DataFrame is, or that its text spells."""
    return _spelled(cell) if isinstance(cell, str) else float(cell)


_spelled = loosely(strict_float)


def boolean(cell: Any) -> float:
    """1.0 for yes, 0.0 for no, by any of their names; ValueError for another."""
    word = str(cell).strip().lower()
    if word not in TRUE and word not in FALSE:
        raise ValueError(cell)
    return float(word in TRUE)


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace").strip()
    if isinstance(cell, float) and cell.is_integer():  # a whole number beside missing ones
        return str(int(cell))
    return str(cell).strip()

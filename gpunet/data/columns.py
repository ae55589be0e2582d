"""Which column of a CSV file is the label, and what the columns are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gpunet.data.cells import Number, Row, is_number
from gpunet.data.dataset import Array
from gpunet.data.errors import DataError, PathLike, shown, unusable
from gpunet.data.targets import FEW

LABEL_NAMES = ("label", "target", "class")
UNNAMED = "(unnamed)"  # pandas' index, as it is written to a file
BYTE = 255

Label: TypeAlias = str | int | None


@dataclass(frozen=True)
class Columns:
    """What the first line and the user tell.

    titles: the header's cells, None without one. numbered: a header of 0, 1, 2, ..., which names
    nothing. labels: where the label may be, counted from 0: one column, or the first and the last.
    """

    count: int
    titles: list[str] | None
    numbered: bool
    labels: tuple[int, ...]

    def called(self, column: int) -> str:
        """For an error: the column's number from 1, and its title."""
        title = f" ({shown(self.titles[column])})" if self.titles else ""
        return f"column {column + 1}{title}"

    def name(self, column: int) -> str:
        """For whoever reads what a run predicts."""
        if self.titles is None or self.numbered:
            return f"column {column + 1}"
        return self.titles[column] or UNNAMED


def read_columns(path: PathLike, first: Row, second: Row | None, label: Label) -> Columns:
    """What the file's first line says. Raises DataError where it does not say it clearly.

    second: the line after it. label: a title or a number from 1, as the user gives it.
    """
    line, raw = first
    cells = [cell.strip() for cell in raw]
    where = f"{path}: line {line}"
    if len(cells) < 2:
        raise unusable(
            where,
            "two columns or more, split by a comma, semicolon or tab",
            f"one, {shown(cells[0])}",
            "check the delimiter, and that there are features and a label",
        )
    named = [i for i, cell in enumerate(cells) if cell.lower() in LABEL_NAMES]
    numbered = _counts(where, cells, second)
    told = label is not None and str(label).strip() in cells and not is_number(str(label))
    if not (named or numbered or told) and any(map(is_number, cells)):
        return Columns(len(cells), None, False, _places(path, label, None, len(cells)))
    _check_titles(where, cells, second)
    found = titled(path, cells, label)
    if label is None and numbered:  # the last is it by custom, but no name says so
        return replace(found, labels=_places(path, None, cells, len(cells)))
    return found


def titled(path: PathLike, names: list[str], label: Label) -> Columns:
    """Columns that have names, whatever they look like. Raises DataError as `read_columns`."""
    numbered = names == [str(k) for k in range(len(names))]
    named = [k for k, name in enumerate(names) if name.lower() in LABEL_NAMES]
    if label is None and len(named) > 1:
        found = " and ".join(repr(names[k]) for k in named)
        raise unusable(path, "one label column", found, "rename all but one, or pass label=")
    labels = _places(path, label, names, len(names))
    if label is None:
        labels = (named[0] if named else len(names) - 1,)
    return Columns(len(names), names, numbered, labels)


def _counts(where: str, cells: Sequence[str], second: Row | None) -> bool:
    """Whether the line is 0, 1, 2, ...: the columns' numbers, as pandas writes them."""
    if list(cells) != [str(i) for i in range(len(cells))]:
        return False
    if len(cells) > 2 or second is None:
        return len(cells) > 2
    if all(cell.strip().lstrip("+-").isdigit() for cell in second[1]):
        raise unusable(
            where,
            "a header or a sample",
            "0 and 1, which may be either",
            'write a header with names above it, such as "x,label"',
        )
    return True


def _check_titles(where: str, cells: Sequence[str], second: Row | None) -> None:
    """DataError where a column has no name, unless it may be the index that pandas writes first,
    which `check_index` looks at when all is read.
    """
    unnamed = [i for i, cell in enumerate(cells, 1) if cell in ("", "?")]
    index = len(cells) > 2 and second is not None and second[1][:1] in (["0"], ["1"])
    if unnamed and not (unnamed == [1] and cells[0] == "" and index):
        raise _no_name(where, unnamed[0])


def check_index(where: object, read: Sequence[str]) -> None:
    """DataError where the first column has no name and does not count the rows."""
    if UNNAMED in read:
        raise _no_name(where, 1)


def _no_name(where: object, column: int) -> DataError:
    return unusable(
        where,
        "a name for every column of the header",
        f"none for column {column}",
        "name that column or, if it counts the rows, remove it",
    )


def _places(path: PathLike, label: Label, titles: list[str] | None, count: int) -> tuple[int, ...]:
    """Where `label` says the label is; else the first and the last column, of which `choose` takes
    one.
    """
    if label is None:
        return (0, count - 1) if count > 2 else (count - 1,)
    text = str(label).strip()
    for given, known in ((text, titles or []), (text.lower(), [t.lower() for t in titles or []])):
        if known.count(given) > 1:
            found = f"{known.count(given)} columns of that name"
            raise unusable(path, f"one column {text!r}", found, "pass the column's number")
        if given in known:
            return (known.index(given),)
    if re.fullmatch(r"-?\d+", text) and (1 <= int(text) <= count or -count <= int(text) <= -1):
        return (int(text) - 1 if int(text) > 0 else count + int(text),)
    names = "no header" if titles is None else f"the columns {shown(', '.join(titles))}"
    raise unusable(
        path,
        f"the label column {text!r}",
        names,
        f"pass label= a column's name, or its number from 1 to {count}",
    )


def choose(
    path: PathLike,
    columns: Columns,
    first: list[str],
    last: list[str],
    between: Array,
    number: Number,
) -> int:
    """The label's column where no name tells: the last one, by custom, or the first where the last
    cannot be one. DataError where both could be and the first looks more like it.

    first, last: the cells of the two columns. between: the numbers of the others, (rows, columns).
    """
    ends = columns.count - 1
    text = not all(is_number(cell, number) for cell in set(last))
    if text or not _are_dense(first, number) or _are_dense(last, number):
        return ends
    bytes_, few = _are_bytes(last, between, number), _are_few(last, number)
    if len(set(last)) == 1 or (bytes_ and not few):
        return 0
    if few and not bytes_:
        return ends
    raise DataError(
        f"{path}: which column is the label? {columns.called(0)} looks like classes, "
        f"{columns.called(ends)} like a quantity; pass label=1 or label={columns.count}"
    )


def _are_few(cells: list[str], number: Number) -> bool:
    """A few different texts or whole numbers, that come again and again."""
    kinds = set(cells)
    if not 2 <= len(kinds) <= min(FEW, len(cells) // 2):
        return False
    return all(not is_number(cell, number) or number(cell).is_integer() for cell in kinds)


def _are_dense(cells: list[str], number: Number) -> bool:
    """A few texts, or the numbers 0..K-1 or 1..K."""
    if not _are_few(cells, number):
        return False
    kinds = set(cells)
    if not all(is_number(cell, number) for cell in kinds):
        return True
    values = sorted({number(cell) for cell in kinds})
    return values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1


def _are_bytes(last: list[str], between: Array, number: Number) -> bool:
    """Pixels: whole numbers from 0 to 255, and not only a few of them."""
    values = {number(cell) for cell in set(last)}
    ends = (min(values), max(values), between.min(), between.max())
    if min(ends) < 0 or not FEW < max(ends) <= BYTE:
        return False
    return all(v.is_integer() for v in values) and bool((between % 1 == 0).all())

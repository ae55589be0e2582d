"""New rows, whatever holds them, as the numbers that a network's scaling begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.data.cells import Number, Row, read_rows
from gpunet.data.columns import UNNAMED
from gpunet.data.description import Description
from gpunet.data.errors import unusable
from gpunet.data.features import Cells, OnePlace, as_numbers, encode, is_missing, plain_number
from gpunet.data.matching import has_header, listed, match, without
from gpunet.data.numbers import loosely, number_reader
from gpunet.data.targets import known_labels
from gpunet.data.text import decoded

Array: TypeAlias = Any  # of NumPy, or of another module like it

AT_ONCE = 4096  # rows: their cells as text are many times as large as their numbers


class Part(NamedTuple):
    """Some rows as they are found: an array (n, columns), or one (n,) for each column; what is true
    of them, None where nobody asks; what a row is called, and what reads a number.
    """

    columns: Array | list[Cells]
    t: Cells | None
    place: OnePlace
    number: Number = plain_number


class Block(NamedTuple):
    """Some rows as the network reads them, (n, width), before they are scaled; and what is true of
    them, see `truths`.
    """

    x: Array
    t: Cells | None
    place: OnePlace


class Rows:
    """Rows in blocks, to be gone through once.

    name: of where they come from. notes: what a user should know, complete when all is read.
    """

    def __init__(
        self, name: str, about: Description, parts: Iterator[Part], notes: Sequence[str] = ()
    ) -> None:
        self.name, self.notes = name, list(notes)
        self._about, self._parts = about, parts
        self._unseen: dict[str, set[str]] = {}
        self._without = 0  # rows of which it is not known what is true

    def __iter__(self) -> Iterator[Block]:
        """DataError for a cell that cannot be read."""
        features = self._about.features
        for columns, t, place, number in map(self._known, self._parts):
            if t is not None and not len(t):
                continue
            if features is not None:
                for feature, cells in zip(features, columns, strict=True):
                    self._unseen.setdefault(feature.name, set()).update(feature.unseen(cells))
                x = encode(columns, features, number, place)
            elif isinstance(columns, list):
                names = self._about.read
                read = zip(columns, names, strict=True)
                x = np.column_stack([as_numbers(c, number, name, place) for c, name in read])
            else:
                x = columns
            true = None if t is None else truths(t, self._about, place, number)
            yield Block(x, true, place)
        left = without(self._without, self._about.label)
        self.notes += [f"{self.name}: {line}" for line in left]
        for column, unseen in self._unseen.items():
            if unseen:
                told = f"names that training did not have: {listed(sorted(unseen)[:8])}"
                self.notes.append(f"{self.name}: the column {column!r} has {told}")

    def _known(self, part: Part) -> Part:
        """Those rows of which it is known what is true, if that is asked."""
        columns, t, place, number = part
        if t is None or t.dtype.kind not in "Of" or not isinstance(columns, list):
            return part
        classes = self._about.classes or ()
        gaps = [is_missing(cell) and str(cell).strip() not in classes for cell in t.tolist()]
        if not any(gaps):
            return part
        rows = np.flatnonzero(np.logical_not(gaps))
        self._without += len(t) - len(rows)
        known = [column[rows] for column in columns]
        return Part(known, t[rows], lambda row: place(int(rows[row])), number)


def truths(
    t: Cells, about: Description, place: OnePlace, number: Number = plain_number
) -> NDArray[Any]:
    """What is true, from cells: labels int64 (n,) of the classes, or numbers float64 (n, outputs).
    DataError for what is neither.
    """
    if about.classes is not None:
        return known_labels(t, about.classes, place)
    columns = [t] if t.ndim == 1 else list(t.T)
    if t.ndim > 2 or len(columns) != about.outputs:
        found = f"shape {t.shape}"
        raise unusable("t", f"{about.outputs} number(s) a row", found, "check what is predicted")
    name = about.label or "t"
    values = np.column_stack([as_numbers(c, number, name, place) for c in columns])
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        where = f"{place(int(bad.argmax()))}, column {name!r}"
        raise unusable(where, "a number", "none, or none that is finite", "fill it in")
    return values


def from_array(x: Array, t: Array | None, about: Description, name: str = "x") -> Rows:
    """Rows of an array (n, columns), or of the samples' shape; it may live on any device."""
    if x.ndim > 2 and x.shape[1:] == about.shape:
        x = x.reshape(len(x), -1)
    if x.ndim != 2:
        shape = ", ".join(map(str, about.shape or [about.count]))
        hint = "give one sample a row; for a single one x[None]"
        raise unusable(name, f"rows of shape (rows, {shape})", f"shape {tuple(x.shape)}", hint)
    if x.dtype.kind not in ("biuf" if about.features is None else "biufOSU"):
        raise unusable(name, "numbers", f"dtype {x.dtype}", "convert it, or name the columns")
    text = [f.name for f in about.features or () if f.kind == "category"]
    if text and not isinstance(x, np.ndarray):
        given = f"an array of {type(x).__module__.split('.')[0]}"
        raise unusable(name, f"text for {listed(text)}", given, "give rows on the host")
    check_lengths([len(x)] if t is None else [len(x), len(t)], name)
    found = match(None, x.shape[1], about, name, False)
    places = None if found.places == list(range(x.shape[1])) else found.places

    def parts() -> Iterator[Part]:
        for part in _slices(len(x)):
            some = x[part] if places is None else x[part][:, places]
            columns = some if about.features is None else list(some.T)
            yield Part(columns, None if t is None else t[part], counted(part.start))

    return Rows(name, about, parts())


def from_columns(
    names: list[str],
    column: Callable[[int], Cells],
    about: Description,
    name: str,
    truth: bool = False,
) -> Rows:
    """Rows of columns with names; `column(k)` are the cells (n,) of the k-th. truth: with what is
    true of them.
    """
    found = match(names, len(names), about, name, truth)
    columns = [column(k) for k in found.places]
    t = column(found.label) if truth and found.label is not None else None
    check_lengths([len(c) for c in columns] + ([] if t is None else [len(t)]), name)

    def parts() -> Iterator[Part]:
        for part in _slices(len(columns[0])):
            some = None if t is None else t[part]
            yield Part([c[part] for c in columns], some, counted(part.start))

    return Rows(name, about, parts(), found.notes)


def from_csv(name: str, content: bytes, about: Description, truth: bool = False) -> Rows:
    """Rows of a CSV file, which may have a header or none, and what is predicted or not."""
    text = decoded(name, content)
    delimiter, lines = read_rows(name, text)
    first = next(lines, None)
    if first is None:
        raise unusable(name, "rows", "blank lines only", "check that it is the file")
    titles = [cell.strip() or UNNAMED for cell in first[1]] if has_header(first[1], about) else None
    count = len(first[1])
    found = match(titles, count, about, name, truth)
    number = number_reader(name, text, delimiter)
    number = number if about.features is None else loosely(number)
    start = first if titles is None else next(lines, None)
    if start is None:
        raise unusable(name, "rows", "a header only", "check that it is the whole file")

    def parts() -> Iterator[Part]:
        rest = chain([start], lines)
        while some := list(islice(rest, AT_ONCE)):
            numbers = [line for line, _ in some]
            columns = transposed(some, count, name)
            t = columns[found.label] if truth and found.label is not None else None
            place = _lines(name, numbers)
            yield Part([columns[k] for k in found.places], t, place, number)

    return Rows(name, about, parts(), found.notes)


def transposed(rows: list[Row], count: int, name: str) -> list[Cells]:
    """The columns of some lines. DataError for one with too few cells or too many."""
    table = np.empty((len(rows), count), object)
    for k, (line, row) in enumerate(rows):
        if len(row) != count:
            expected = f"{count} cells as in the first line"
            raise unusable(f"{name}: line {line}", expected, str(len(row)), "mend that line")
        table[k] = row
    return list(table.T)


def _slices(count: int) -> list[slice]:
    return [slice(k, min(count, k + AT_ONCE)) for k in range(0, count, AT_ONCE)]


def counted(start: int) -> OnePlace:
    """What a row of an array is called."""
    return lambda row: f"row {start + row} (counted from 0)"


def _lines(name: str, numbers: list[int]) -> OnePlace:
    return lambda row: f"{name}: line {numbers[row]}"


def check_lengths(lengths: list[int], name: str) -> None:
    """DataError unless all are the same, and not 0."""
    if len({*lengths}) > 1:
        told = " and ".join(f"{n:,}" for n in sorted({*lengths}))
        raise unusable(name, "as many of each as there are rows", told, "check that they fit")
    if 0 in lengths:
        raise unusable(name, "rows", "none", "give one at least")

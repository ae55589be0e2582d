"""CSV files: a row of features and a target for each sample."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

import numpy as np

from gpunet.data.assemble import Part, Place, assemble
from gpunet.data.cells import MISSING, Number, Row, is_number, read_rows
from gpunet.data.columns import Columns, Label, check_index, choose, read_columns
from gpunet.data.dataset import SHARES, Array, Dataset, Shares
from gpunet.data.errors import CellError, DataError, PathLike, read_bytes, shown, unusable
from gpunet.data.features import Cells
from gpunet.data.kinds import without_keys
from gpunet.data.matching import without
from gpunet.data.mixed import Table, learn
from gpunet.data.numbers import loosely, number_reader, with_comma
from gpunet.data.rows import transposed
from gpunet.data.targets import Target
from gpunet.data.text import decoded

FEWEST = 5  # rows that tell something of what fills a gap
MISSING_LABELS = ("", "?", "nan")  # the others may well be the name of a class


def load_csv(
    path: PathLike,
    *,
    normalise: bool = True,
    target: Target = "auto",
    label: Label = None,
    shares: Shares = SHARES,
) -> Dataset:
    """The data set in a CSV file: a sample a line, numbers but for the label column.

    Other text, and missing values, are read where scikit-learn is installed: see `mixed.learn` and
    docs/tables.md. The file is UTF-8, UTF-16 or CP949; see `text.decoded`.

    The delimiter is found among comma, semicolon and tab, or named by a first line "sep=;"; numbers
    may have decimal commas throughout. The first line is a header if a cell in it is "label",
    "target" or "class" (in any case), which names the label column, if no cell in it is a number,
    or if it is 0, 1, 2, ... Without such a name the last column is the label; where nothing but
    numbers names the columns, the first may be it (see `columns.choose`). Features are standardised
    (see `Dataset.standardised`) unless `normalise` is off. See `targets` for what becomes a class.
    The rows are cut into train, validation and test by `shares`, with seed 0, each class alike;
    see `split`.

    label: the label column: its name in the header, or its number, from 1 (or -1 for the last).

    Raises DataError, with line and column, where a cell is missing or not a number (without
    scikit-learn, in fewer than FEWEST rows, or among numbers), or a line has too many or too few
    cells; where a number, a header or the label column may be this or that; also where the file is
    empty or is not text.
    """
    text = decoded(path, read_bytes(path))
    delimiter, rows = read_rows(path, text)
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise unusable(path, "lines of numbers", "blank lines only", "check that it is the file")
    columns = read_columns(path, first, second, label)
    if target == "number":  # and no class: where no name tells, the last one
        columns = replace(columns, labels=columns.labels[-1:])
    given = [row for row in (None if columns.titles else first, second) if row]
    number = number_reader(path, text, delimiter)
    try:
        return (
            _Table(path, columns, number)
            .read(chain(given, rows))
            .dataset(normalise, target, shares)
        )
    except CellError as error:
        if find_spec("sklearn") is None:
            extras = "; or pip install 'gpunet[tables]' to read text and fill what is missing"
            raise CellError(f"{error}{extras}") from None
        lines = list(islice(read_rows(path, text)[1], columns.titles is not None, None))
        cells = transposed(lines, columns.count, str(path))
        if len(lines) < FEWEST or _is_first(columns, cells, number):
            raise
    label = columns.labels[-1]
    known = _labelled(cells[label], number)
    numbers = [lines[row][0] for row in known]
    table = _mixed(path, columns, [column[known] for column in cells], numbers, number)
    found = learn(table, normalise=normalise, target=target, shares=shares)
    left = without(len(lines) - len(known), columns.name(label))
    return _named(path, replace(found, notes=(*found.notes, *left)), columns, label)


def _is_first(columns: Columns, cells: list[Cells], number: Number) -> bool:
    """Whether the first column may well be the label, and no name says so: it is text, and the last
    is not.
    """
    if len(columns.labels) == 1:
        return False
    ends = ({cell.strip() for cell in cells[k]} for k in columns.labels)
    text = (not all(is_number(cell, number) for cell in end) for end in ends)
    return list(text) == [True, False]


def _labelled(cells: Cells, number: Number) -> list[int]:
    """The rows whose label is known; all of them where none is, for an error that says so."""
    stripped = [cell.strip() for cell in cells]
    gaps = _gaps(stripped, number)
    known = [row for row, cell in enumerate(stripped) if cell.lower() not in gaps]
    return known or list(range(len(cells)))


def _mixed(
    path: PathLike, columns: Columns, cells: list[Cells], lines: list[int], number: Number
) -> Table:
    """A table with text and missing values, from its columns and their lines' numbers."""
    label = columns.labels[-1]
    kept = [column for column in range(columns.count) if column != label]

    def place(row: int, column: int | None) -> str:
        number = label if column is None else kept[column]
        return f"line {lines[row]}, {columns.called(number)}"

    t, written = _labels(path, [cell.strip() for cell in cells[label]], place, number)
    index = np.arange(len(lines)).reshape(-1, 1)
    part = Part(index, t, str(path), f"{path}: {columns.called(label)}", place, written)
    return Table(
        Path(path).stem,
        [columns.name(k) for k in kept],
        [cells[k] for k in kept],
        part,
        lambda row, column: f"{path}: {place(row, column)}",
        loosely(number),
    )


def _named(path: PathLike, found: Dataset, columns: Columns, label: int) -> Dataset:
    check_index(path, found.columns or ())
    header = tuple(map(columns.name, range(columns.count)))
    return replace(found, label=columns.name(label), header=header)


class _Table:
    """Rows as they are read: numbers in a flat buffer (as Python strings, a large file would not
    fit in memory), and beside it the cells of the columns that may be the label.
    """

    def __init__(self, path: PathLike, columns: Columns, number: Number) -> None:
        self.path, self.columns, self.number = path, columns, number
        self.values, self.lines = array("d"), list[int]()
        self.texts: dict[int, list[str]] = {column: [] for column in columns.labels}

    def read(self, rows: Iterable[Row]) -> _Table:
        """All rows. Where two columns may be the label, both have a place among the numbers."""
        count, extend, places = self.columns.count, self.values.extend, self.columns.labels
        alone = places[0] if len(places) == 1 else None
        for line, row in rows:
            if len(row) != count:
                raise unusable(
                    f"{self.path}: line {line}",
                    f"{count} cells as in the first line",
                    str(len(row)),
                    "mend that line",
                )
            for column in places:
                self.texts[column].append(row[column].strip())
                row[column] = "0"
            if alone is not None:
                del row[alone]
            self.lines.append(line)
            try:
                extend(map(self.number, row))
            except ValueError:
                if alone is None:
                    self._check_ends(line)
                else:
                    row.insert(alone, "0")
                raise self._bad_cell(line, row) from None
            if alone is None:
                self._check_ends(line)
        if not self.lines:
            expected, hint = "lines of numbers", "check that it is the whole file"
            raise unusable(self.path, expected, "a header only", hint)
        return self

    def dataset(self, normalise: bool, target: Target, shares: Shares) -> Dataset:
        path, columns = self.path, self.columns
        x = np.frombuffer(self.values).reshape(len(self.lines), -1)
        label = columns.labels[0]
        if len(columns.labels) > 1:
            first, last = (self.texts[column] for column in columns.labels)
            label = choose(path, columns, first, last, x[:, 1:-1], self.number)
            other = columns.count - 1 - label
            x[:, other] = [self._number(row, other) for row in range(len(x))]
            x = x[:, :-1] if other == 0 else x[:, 1:]
        kept = [column for column in range(columns.count) if column != label]
        self._check_title(label)
        x, used, notes = without_keys(x, list(map(columns.name, kept)))
        kept = [kept[k] for k in used]
        read = tuple(map(columns.name, kept))
        check_index(self.path, read)

        def place(row: int, column: int | None) -> str:
            number = label if column is None else kept[column]
            return f"line {self.lines[row]}, {columns.called(number)}"

        t, written = _labels(path, self.texts[label], place, self.number)
        part = Part(x, t, str(path), f"{path}: {columns.called(label)}", place, written)
        found = assemble(Path(path).stem, part, normalise=normalise, target=target, shares=shares)
        return _named(path, replace(found, columns=read, notes=notes), columns, label)

    def _number(self, row: int, column: int) -> float:
        """That of a cell that might have been a label."""
        try:
            return self.number(self.texts[column][row])
        except ValueError:
            cells = ["0"] * self.columns.count
            cells[column] = self.texts[column][row]
            raise self._bad_cell(self.lines[row], cells) from None

    def _check_ends(self, line: int) -> None:
        """Two columns that are text in one row: the first is the feature, and has an error."""
        first, last = (self.texts[column][-1] for column in self.columns.labels)
        missing = first.lower() in MISSING and not is_number(first)
        if missing or not (is_number(first, self.number) or is_number(last, self.number)):
            raise self._bad_cell(line, [first, *["0"] * (self.columns.count - 1)])

    def _check_title(self, label: int) -> None:
        columns, cells = self.columns, self.texts[label]
        if columns.titles and not columns.numbered and columns.titles[label] in cells:
            # "1,2,target" may be a sample of the class "target": it must not be lost as a header.
            title = columns.titles[label]
            raise unusable(
                self.path,
                "a header whose label column's name is no label",
                f"{title!r} in line {self.lines[cells.index(title)]} too",
                "give the file a header, or the column another name",
            )

    def _bad_cell(self, line: int, cells: list[str]) -> DataError:
        """The error for the first of a row's cells that is not a number."""
        pairs = enumerate(cells)
        column, cell = next(pair for pair in pairs if not is_number(pair[1], self.number))
        missing = cell.strip().lower() in MISSING
        advice = "write numbers, with a decimal point"
        if self.number is with_comma:
            advice = "write all numbers with a decimal comma, or all with a decimal point"
        remedy = "fill it in or remove the line" if missing else advice
        if line == 1:
            remedy += '; in a header, call the label column "label"'
        if column in self.texts and not missing:
            remedy += f"; if it is the label, pass label={column + 1}"
        found = f"a missing value, {shown(cell)}" if missing else shown(cell)
        where = f"{self.path}: line {line}, {self.columns.called(column)}"
        return unusable(where, "a number", found, remedy, CellError)


def _gaps(cells: list[str], number: Number) -> tuple[str, ...]:
    """The words for a missing label: among numbers more of them than among names."""
    numbers = sum(is_number(cell, number) for cell in cells)
    return MISSING if 2 * numbers > len(cells) else MISSING_LABELS


def _labels(
    path: PathLike, cells: list[str], place: Place, number: Number
) -> tuple[Array, Array | None]:
    """The label column: float64 if every cell is a number, with the cells as written; else text."""
    values, other = [], None
    gaps = _gaps(cells, number)
    for row, cell in enumerate(cells):
        if cell.lower() in gaps:
            where = f"{path}: {place(row, None)}"
            found = f"a missing value, {shown(cell)}"
            hint = "fill it in or remove the line"
            raise unusable(where, "a label", found, hint, CellError)
        try:
            values.append(number(cell))
        except ValueError:
            other = row if other is None else other
    if other is None:
        return np.array(values), np.array(cells)
    if any(not value.is_integer() for value in values):
        # Among numbers with fractions, a text is a slip and not the name of a class.
        where, found = f"{path}: {place(other, None)}", shown(cells[other])
        raise unusable(where, "a number as in other lines", found, "mend or remove that line")
    return np.array(cells), None

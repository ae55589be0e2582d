"""CSV and npz files: a row of features and a target for each sample."""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from gpunet.data.assemble import Part, Place, assemble
from gpunet.data.cells import Number, Row, is_number, number_reader, read_rows, with_comma
from gpunet.data.columns import Columns, Label, choose, read_columns
from gpunet.data.dataset import Array, Dataset
from gpunet.data.errors import DataError, PathLike, read_bytes, room, shown, unusable
from gpunet.data.targets import Target

# --- CSV ------------------------------------------------------------------------------------------

MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")
MISSING_LABELS = ("", "?", "nan")  # the others may well be the name of a class


def load_csv(
    path: PathLike, *, normalise: bool = True, target: Target = "auto", label: Label = None
) -> Dataset:
    """The data set in a CSV file: UTF-8, a sample a line, numbers but for the label column.

    The delimiter is found among comma, semicolon and tab, or named by a first line "sep=;"; numbers
    may have decimal commas throughout. The first line is a header if a cell in it is "label",
    "target" or "class" (in any case), which names the label column, if no cell in it is a number,
    or if it is 0, 1, 2, ... Without such a name the last column is the label; where nothing but
    numbers names the columns, the first may be it (see `columns.choose`). Features are standardised
    (see `Dataset.standardised`) unless `normalise` is off. See `targets` for what becomes a class.
    The rows are cut into train, validation (a tenth) and test (a fifth), with seed 0, each class
    alike; see `split`.

    label: the label column: its name in the header, or its number, from 1 (or -1 for the last).

    Raises DataError, with line and column, where a cell is missing or not a number, or a line has
    too many or too few cells; where a number, a header or the label column may be this or that;
    also where the file is empty or is not text.
    """
    text = _decoded(path)
    delimiter, rows = read_rows(path, text)
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise unusable(path, "lines of numbers", "blank lines only", "check that it is the file")
    columns = read_columns(path, first, second, label)
    if target == "number":  # and no class: where no name tells, the last one
        columns = replace(columns, labels=columns.labels[-1:])
    given = [row for row in (None if columns.titles else first, second) if row]
    table = _Table(path, columns, number_reader(path, text, delimiter))
    return table.read(chain(given, rows)).dataset(normalise, target)


def _decoded(path: PathLike) -> str:
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        found = f"the byte {content[error.start]:#04x} at offset {error.start}"
        raise unusable(path, "UTF-8 text", found, "is it a CSV file? Save it as UTF-8") from None
    if "\0" in text:
        found = f"a zero byte at character {text.index(chr(0))}"
        raise unusable(path, "text", found, "is it a CSV file? Save it as UTF-8")
    return text


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

    def dataset(self, normalise: bool, target: Target) -> Dataset:
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

        def place(row: int, column: int | None) -> str:
            number = label if column is None else kept[column]
            return f"line {self.lines[row]}, {columns.called(number)}"

        t, written = _labels(path, self.texts[label], place, self.number)
        part = Part(x, t, str(path), f"{path}: {columns.called(label)}", place, written)
        found = assemble(Path(path).stem, part, normalise=normalise, target=target)
        names = tuple(map(columns.name, kept))
        return replace(found, label=columns.name(label), columns=names)

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
        return unusable(where, "a number", found, remedy)


def _labels(
    path: PathLike, cells: list[str], place: Place, number: Number
) -> tuple[Array, Array | None]:
    """The label column: float64 if every cell is a number, with the cells as written; else text."""
    values, other = [], None
    for row, cell in enumerate(cells):
        if cell.lower() in MISSING_LABELS:
            where = f"{path}: {place(row, None)}"
            found = f"a missing value, {shown(cell)}"
            raise unusable(where, "a label", found, "fill it in or remove the line")
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


# --- npz ------------------------------------------------------------------------------------------

_X, _T = ("x", "X"), ("t", "T", "y", "Y")
_VALID, _TEST = ("_valid", "_val"), ("_test",)


def load_npz(path: PathLike, *, normalise: bool = True, target: Target = "auto") -> Dataset:
    """The data set in an npz file, one sample a row of x, with its targets t (or y).

    Keys: x and t, to be cut by `split` as in `load_csv`; or x_train and t_train, with x_test and
    t_test, and x_valid and t_valid, to keep the parts that the file has: what it lacks is cut
    from train. y stands for t, X and Y for x and t, _val for _valid. Other keys are not read.
    x: numbers (n, features), or of more axes, which are made one. uint8 images (n, height, width)
    become float32 in [0, 1]; all else is standardised, unless `normalise` is off. t: (n,) or
    (n, outputs); see `targets`. Nothing is unpickled.

    Raises DataError where keys are missing or not clear, an array is damaged or holds objects, or
    the arrays do not fit together.
    """
    arrays = _Arrays(path)
    whole, train = arrays.part(("",)), arrays.part(("_train",))
    if (whole is None) == (train is None):
        raise unusable(
            path,
            "either x and t, or x_train and t_train (y for t will do)",
            f"the keys {arrays.keys}",
            "rename the arrays",
        )
    valid, test = arrays.part(_VALID), arrays.part(_TEST)
    if whole is not None and (valid is not None or test is not None):
        raise unusable(
            path, "x_train beside x_valid or x_test", f"the keys {arrays.keys}", "rename the arrays"
        )
    first = whole if whole is not None else train
    assert first is not None  # exactly one of them is
    name = Path(path).stem
    found = assemble(name, first, valid, test, normalise=normalise, target=target)
    return replace(found, label=first.t_name.removeprefix(f"{path}: "))


class _Arrays:
    """The arrays of an npz file, each read when it is asked for."""

    def __init__(self, path: PathLike) -> None:
        self.path = path
        content = read_bytes(path)
        if not content.startswith(b"PK"):
            raise unusable(
                path,
                "an npz file (a zip archive, as numpy.savez writes)",
                f"the bytes {content[:4].hex(' ')}",
                "write it with numpy.savez",
            )
        self._size = len(content)
        self._file = self._guarded(lambda: np.load(io.BytesIO(content), allow_pickle=False))
        self.keys = sorted(self._file.files)

    def part(self, suffixes: tuple[str, ...]) -> Part | None:
        """x and t with one of the suffixes; None if neither is there."""
        x, t = self._key(_X, suffixes), self._key(_T, suffixes)
        if x is None and t is None:
            return None
        if x is None or t is None:
            missing = ("x" if x is None else "t") + suffixes[0]
            raise unusable(
                self.path,
                f"{missing} beside {x or t}",
                f"the keys {self.keys}",
                "rename or add the array",
            )
        return Part(self._read(x), self._read(t), f"{self.path}: {x}", f"{self.path}: {t}")

    def _key(self, names: tuple[str, ...], suffixes: tuple[str, ...]) -> str | None:
        found = [n + s for n in names for s in suffixes if n + s in self.keys]
        if len(found) > 1:
            raise unusable(self.path, "one of them", f"both {' and '.join(found)}", "remove one")
        return found[0] if found else None

    def _read(self, key: str) -> Array:
        self._guarded(lambda: self._check_size(key), f": {key}")
        values = self._guarded(lambda: self._file[key], f": {key}")
        if not isinstance(values, np.ndarray):  # a member of the archive that is no .npy file
            raise unusable(f"{self.path}: {key}", "an array", "other data", "use numpy.savez")
        return values

    def _check_size(self, key: str) -> None:
        """ValueError unless the array is as large as it says, before memory is taken for it."""
        info = next(i for i in self._file.zip.infolist() if i.filename in (key, f"{key}.npy"))
        most = room(min(info.compress_size, self._size))
        if info.file_size > most:
            raise ValueError(
                f"{info.file_size:,} bytes in {info.compress_size:,}, at most {most:,} are "
                "unpacked; if that is meant, use numpy.savez, which packs nothing"
            )
        with self._file.zip.open(info) as file:
            start = file.read(8)
            version = tuple(start[6:])
            if not start.startswith(npy.MAGIC_PREFIX) or version not in ((1, 0), (2, 0)):
                return  # no array, or one with named fields: refused later
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = read(file)
            size, rest = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
            if size != rest and not dtype.hasobject:
                raise ValueError(
                    f"{dtype} of shape {shape} takes {size:,} bytes, there are {rest:,}"
                )

    def _guarded(self, read: Callable[[], Any], key: str = "") -> Any:
        try:
            return read()
        except Exception as error:
            # A damaged archive fails in whatever way zipfile, zlib and NumPy's header reader
            # happen to: no list of their errors would stay complete.
            raise unusable(
                f"{self.path}{key}",
                "arrays of numbers or text as numpy.savez writes them",
                f"what cannot be read ({type(error).__name__}: {error})",
                "write it again, without objects",
            ) from None

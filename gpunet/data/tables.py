"""CSV and npz files: a row of features and a target for each sample."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

from gpunet.data.assemble import Part, Place, assemble
from gpunet.data.dataset import Array, Dataset
from gpunet.data.errors import DataError, PathLike, read_bytes, room, shown, unusable
from gpunet.data.targets import Target

# --- CSV ------------------------------------------------------------------------------------------

# In the order in which a tie is decided: "1,5;2,5;3" is three cells either way, but only a
# semicolon is put there for no other reason.
DELIMITERS = "\t;,"
LABEL_NAMES = ("label", "target", "class")
MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")
MISSING_LABELS = ("", "?", "nan")  # the others may well be the name of a class
_SAMPLE = 20

_Row: TypeAlias = tuple[int, list[str]]  # a line's number and its cells
_Number: TypeAlias = Callable[[str], float]


def load_csv(path: PathLike, *, normalise: bool = True, target: Target = "auto") -> Dataset:
    """The data set in a CSV file: UTF-8, a sample a line, numbers but for the label column.

    The delimiter is found among comma, semicolon and tab. The first line is a header if a cell in
    it is "label", "target" or "class" (in any case), which names the label column, or if no cell
    in it is a number; without such a name the last column is the label. Features are standardised
    (see `Dataset.standardised`) unless `normalise` is off. See `targets` for what becomes a class.
    `split` cuts the rows into train, validation (a tenth) and test (a fifth), with seed 0.

    Raises DataError, with line and column, where a cell is missing or not a number, or a line has
    too many or too few cells; also where the file is empty or is not text.
    """
    text = _decoded(path)
    rows = _rows(path, text, _delimiter(text))
    first = next(rows, None)
    if first is None:
        raise unusable(path, "lines of numbers", "blank lines only", "check that it is the file")
    columns = _Columns.of(path, first)
    if columns.title is None:
        rows = chain([first], rows)
    # The slower reader only where it may matter: not for underscores in the header alone.
    number = _strict_float if text.rfind("_") > text.find("\n") else float
    part = _part(path, rows, columns, number)
    return assemble(Path(path).stem, part, normalise=normalise, target=target)


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


def _delimiter(text: str) -> str:
    """The delimiter that cuts the first lines into the most cells, and each into as many."""

    def score(delimiter: str) -> tuple[bool, int]:
        cells: list[int] = []
        with suppress(csv.Error):  # told with its line when the rows are read
            cells.extend(len(row) for row in csv.reader(sample, delimiter=delimiter) if row)
        most = max(cells, default=0)
        return most > 1 and min(cells) == most, most

    sample = list(islice(io.StringIO(text, newline=""), _SAMPLE))
    return max(DELIMITERS, key=score)


def _rows(path: PathLike, text: str, delimiter: str) -> Iterator[_Row]:
    """Each line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise unusable(
            f"{path}: line {reader.line_num}", "a CSV line", f"damage ({error})", "check its quotes"
        ) from None


@dataclass(frozen=True)
class _Columns:
    """What the first line tells: names for errors, the label column, its title in a header."""

    names: list[str]
    label: int
    title: str | None

    @staticmethod
    def of(path: PathLike, first: _Row) -> _Columns:
        line, raw = first
        cells = [cell.strip() for cell in raw]
        if len(cells) < 2:
            raise unusable(
                f"{path}: line {line}",
                "two columns or more, split by a comma, semicolon or tab",
                f"one, {shown(cells[0])}",
                "check the delimiter, and that there are features and a label",
            )
        labels = [i for i, cell in enumerate(cells) if cell.lower() in LABEL_NAMES]
        label = labels[0] if labels else len(cells) - 1
        if not labels and any(_is_number(cell) for cell in cells):
            return _Columns([f"column {i}" for i in range(1, len(cells) + 1)], label, None)
        if len(labels) > 1:
            found = " and ".join(repr(cells[i]) for i in labels)
            raise unusable(path, "one label column", found, "rename all but one")
        unnamed = next((i for i, cell in enumerate(cells, 1) if cell in ("", "?")), None)
        if unnamed is not None:
            # pandas writes its index without a name: a feature that may give the label away.
            raise unusable(
                f"{path}: line {line}",
                "a name for every column of the header",
                f"none for column {unnamed}",
                "name that column or, if it counts the rows, remove it",
            )
        names = [f"column {i} ({shown(cell)})" for i, cell in enumerate(cells, start=1)]
        return _Columns(names, label, cells[label])

    @property
    def features(self) -> list[str]:
        return self.names[: self.label] + self.names[self.label + 1 :]


def _is_number(cell: str, number: _Number = float) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def _strict_float(cell: str) -> float:
    """Python reads 1_000 as a number; a CSV file does not mean one by it."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def _part(path: PathLike, rows: Iterable[_Row], columns: _Columns, number: _Number) -> Part:
    # Row by row into a flat buffer: as Python strings, a large file would not fit in memory.
    values, labels, lines = array("d"), list[str](), list[int]()
    for line, cells in rows:
        if len(cells) != len(columns.names):
            raise unusable(
                f"{path}: line {line}",
                f"{len(columns.names)} cells as in the first line",
                str(len(cells)),
                "mend that line",
            )
        labels.append(cells.pop(columns.label).strip())
        lines.append(line)
        try:
            values.extend(map(number, cells))
        except ValueError:
            raise _bad_cell(path, line, cells, columns, number) from None
    if not lines:
        raise unusable(path, "lines of numbers", "a header only", "check that it is the whole file")
    if columns.title in labels:
        # "1,2,target" may be a sample of the class "target": its line must not be lost as a header.
        raise unusable(
            path,
            "a header whose label column's name is no label",
            f"{columns.title!r} in line {lines[labels.index(columns.title)]} too",
            "give the file a header, or the column another name",
        )

    def place(row: int, column: int | None) -> str:
        names = columns.names[columns.label] if column is None else columns.features[column]
        return f"line {lines[row]}, {names}"

    x = np.frombuffer(values).reshape(len(lines), -1)
    t = _labels(path, labels, place, number)
    return Part(x, t, str(path), f"{path}: {columns.names[columns.label]}", place)


def _bad_cell(
    path: PathLike, line: int, cells: list[str], columns: _Columns, number: _Number
) -> DataError:
    """The error for the first of a row's feature cells that is not a number."""
    pairs = zip(cells, columns.features, strict=True)
    cell, name = next(pair for pair in pairs if not _is_number(pair[0], number))
    missing = cell.strip().lower() in MISSING
    remedy = "fill it in or remove the line" if missing else "write numbers, with a decimal point"
    if line == 1:
        remedy += '; in a header, call the label column "label"'
    found = f"a missing value, {shown(cell)}" if missing else shown(cell)
    return unusable(f"{path}: line {line}, {name}", "a number", found, remedy)


def _labels(path: PathLike, cells: list[str], place: Place, number: _Number) -> Array:
    """The label column: float64 if every cell is a number, else text."""
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
        return np.array(values)
    if any(not value.is_integer() for value in values):
        # Among numbers with fractions, a text is a slip and not the name of a class.
        where, found = f"{path}: {place(other, None)}", shown(cells[other])
        raise unusable(where, "a number as in other lines", found, "mend or remove that line")
    return np.array(cells)


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
    return assemble(name, first, valid, test, normalise=normalise, target=target)


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

"""How a CSV file is written: what stands between its cells, and how its numbers look."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, TypeAlias

from gpunet.data.errors import PathLike, unusable

# In the order in which a tie is decided: "1,5;2,5;3" is three cells either way, but only a
# semicolon is put there for no other reason.
DELIMITERS = "\t;,"
_SAMPLE = 20
MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")
_SEP = re.compile(r'"?sep=(.|\\t)"?[ ]*(?=[\r\n]|$)', re.IGNORECASE)

Row: TypeAlias = tuple[int, list[str]]  # a line's number and its cells
Number: TypeAlias = Callable[[str], float]


def named_delimiter(text: str) -> str | None:
    """The delimiter that a first line "sep=;" names, as Excel writes it."""
    found = _SEP.match(text)
    return found and found[1].replace("\\t", "\t")


def likely_delimiter(text: str) -> str:
    """The delimiter that cuts the first lines into the most cells, and each into as many."""

    def score(delimiter: str) -> tuple[bool, int]:
        cells: list[int] = []
        with suppress(csv.Error):  # told with its line when the rows are read
            cells.extend(len(row) for row in _reader(sample, delimiter) if row)
        most = max(cells, default=0)
        return most > 1 and min(cells) == most, most

    sample = list(islice(io.StringIO(text, newline=""), _SAMPLE))
    return max(DELIMITERS, key=score)


def read_rows(path: PathLike, text: str) -> tuple[str, Iterator[Row]]:
    """The delimiter, and each line that is neither blank nor a first "sep=;"."""
    named = named_delimiter(text)
    delimiter = named or likely_delimiter(text)
    lines = _lines(path, text, delimiter)
    return delimiter, islice(lines, 1, None) if named else lines


def _lines(path: PathLike, text: str, delimiter: str) -> Iterator[Row]:
    reader = _reader(io.StringIO(text, newline=""), delimiter)
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise unusable(
            f"{path}: line {reader.line_num}", "a CSV line", f"damage ({error})", "check its quotes"
        ) from None


def _reader(lines: io.StringIO | list[str], delimiter: str) -> Any:
    # A space before a quote is no part of the cell.
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)


def is_number(cell: str, number: Number = float) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True

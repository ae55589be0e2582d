"""How the numbers of a file are written: 1234.5 or 1234,5, with a mark between thousands or none.

One file writes all its numbers in one way. Which way it is is told by a cell that can be written
in no other: 1,234.5 and 3,5 are clear, 1,234 alone is not.
"""

from __future__ import annotations

import re

from gpunet.data.cells import Number
from gpunet.data.errors import PathLike, unusable

_SPACES = " \u00a0\u2009\u202f'’"  # between thousands, beside commas and points
_SPACED = re.compile(rf"[+-]?\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?:[.,]\d*)?")
_BY_COMMA = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_BY_POINT = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?")
_DOUBTFUL = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_POINT = re.compile(r"[+-]?(?:0|\d{4,})?\.\d+|[+-]?\d+\.(?:\d{1,2}|\d{4,})")


def number_reader(path: PathLike, text: str, delimiter: str) -> Number:
    """What makes a number of a cell of this file, or raises ValueError. DataError where commas may
    be one thing or the other.
    """
    if "," in text and (delimiter != "," or '"' in text):
        found = _with_commas(path, text, delimiter)
        if found is not None:
            return found
    # The slower reader only where it may matter: not for underscores in the header alone.
    return strict_float if text.rfind("_") > text.find("\n") else float


def strict_float(cell: str) -> float:
    """Python reads 1_000 as a number; a CSV file does not mean one by it."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def with_comma(cell: str) -> float:
    """A decimal comma, and no point beside it: the two mixed may mean anything."""
    if "." in cell:
        raise ValueError(cell)
    return strict_float(cell.replace(",", "."))


def with_points_between(cell: str) -> float:
    """A decimal comma, and points between thousands: 1.234,5."""
    if "." in cell and not _BY_POINT.fullmatch(cell.strip()):
        raise ValueError(cell)
    return strict_float(cell.replace(".", "").replace(",", "."))


def with_commas_between(cell: str) -> float:
    """A decimal point, and commas between thousands: 1,234.5."""
    if "," in cell and not _BY_COMMA.fullmatch(cell.strip()):
        raise ValueError(cell)
    return strict_float(cell.replace(",", ""))


STYLES: tuple[Number, ...] = (strict_float, with_comma, with_points_between, with_commas_between)


def loosely(number: Number) -> Number:
    """That reader, and spaces or apostrophes between thousands as well: 1 234.5."""

    def read(cell: str) -> float:
        try:
            return number(cell)
        except ValueError:
            if not _SPACED.fullmatch(cell.strip()):
                raise
            return number(re.sub(rf"[{_SPACES}]", "", cell))

    return read


def _with_commas(path: PathLike, text: str, delimiter: str) -> Number | None:
    """What reads numbers with commas, None where there are none."""
    edge = rf"[\r{re.escape(delimiter)}]"
    quote = '[ ]*"[ ]*' if delimiter == "," else '[ ]*"?[ ]*'
    number = r"[+-]?[\d.,]*,\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
    cell = re.compile(rf"(?:^|{edge}){quote}({number}){quote}(?={edge}|$)", re.MULTILINE)
    doubtful: re.Match[str] | None = None
    decimal = False
    for found in cell.finditer(text):
        if _DOUBTFUL.fullmatch(found[1]):
            doubtful = doubtful or found
        elif _BY_COMMA.fullmatch(found[1]):
            return with_commas_between
        elif _BY_POINT.fullmatch(found[1]) and "." in found[1]:
            return with_points_between
        elif "." not in found[1]:
            decimal = True
            if "." not in text:
                break
    if decimal:
        return with_comma
    if doubtful is None:
        return None
    points = re.compile(rf"(?:^|{edge})[ ]*\"?({_POINT.pattern})\"?[ ]*(?={edge}|$)", re.MULTILINE)
    if delimiter == "," or points.search(text):
        return with_commas_between
    line = len(re.findall(r"\r\n?|\n", text[: doubtful.start(1)])) + 1
    raise unusable(
        f"{path}: line {line}",
        "numbers with one meaning",
        f"{doubtful[1]!r}, which may be thousands or have a decimal comma",
        "write it without a comma, or with a decimal point",
    )

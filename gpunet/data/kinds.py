"""What the columns of a table hold: numbers, yes and no, categories; or what is of no use.

Dates, columns whose text or whole number is another in every row, and columns with one value are
left out, and why is said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpunet.data.cells import Number, is_number
from gpunet.data.columns import UNNAMED
from gpunet.data.errors import shown, unusable
from gpunet.data.features import (
    FALSE,
    TRUE,
    Cells,
    Kind,
    OnePlace,
    as_numbers,
    as_texts,
    boolean,
)
from gpunet.data.numbers import STYLES

DATE = "a date or a time"
COUNTER = "another whole number in every row"

_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?:Z| ?[+-]\d{2}:?\d{2})?)?"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATES = [
    rf"\d{{4}}[-/.]\d{{1,2}}(?:[-/.]\d{{1,2}}\.?)?{_TIME}",
    rf"\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:\d{{2}}|\d{{4}}){_TIME}",
    rf"\d{{1,2}}[- ]{_MONTH}[- ,]*\d{{2,4}}{_TIME}",
    rf"{_MONTH} \d{{1,2}},? \d{{4}}{_TIME}",
    rf"\d{{4}}년 ?\d{{1,2}}월(?: ?\d{{1,2}}일)?{_TIME}",
    r"\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]m)?",
]
_DATE = re.compile("|".join(_DATES), re.IGNORECASE)
_KEY = re.compile(r"(?:.*[^a-z])?(?:id|idx|index|no|nr|num|number|key|uuid|guid|serial|row)", re.I)
_KOREAN_KEYS = ("번호", "아이디", "순번", "일련")


@dataclass(frozen=True)
class Column:
    """A column that is read, its cells as numbers (nan where missing) or texts (None), or one that
    is left out, and why.
    """

    name: str
    kind: Kind
    cells: Cells
    left_out: str | None = None


def inspect(name: str, cells: Cells, number: Number, place: OnePlace) -> Column:
    """What the column holds, judged by all its rows. DataError where it has numbers but for a few
    cells: these are slips, and no categories.
    """
    if cells.dtype.kind in "Mm":
        return Column(name, "category", cells, DATE)
    if cells.dtype.kind == "b":
        return _of_numbers(name, "boolean", cells.astype(np.float64), place)
    if cells.dtype.kind in "iuf":
        return _of_numbers(name, "number", cells.astype(np.float64), place)
    texts = as_texts(cells)
    known = {text for text in texts if text is not None}
    if not known:
        return Column(name, "category", texts, "nothing but missing values")
    if _are_booleans(known):
        return _of_numbers(name, "boolean", as_numbers(texts, boolean, name, place), place)
    odd = {text for text in known if not is_number(text, number)}
    if not odd:
        return _of_numbers(name, "number", as_numbers(texts, number, name, place), place)
    why = _why_no_category(texts, known)
    if why != DATE:
        _check_slips(texts, odd, place)
    return Column(name, "category", texts, why)


def _are_booleans(known: set[str]) -> bool:
    """Words for yes and no, and not the numbers 0 and 1."""
    words = {text.lower() for text in known}
    return words <= {*TRUE, *FALSE} and not words <= {"0", "1", "0.0", "1.0"}


def _check_slips(texts: Cells, odd: set[str], place: OnePlace) -> None:
    """DataError where half of the cells at least are numbers, written as others or not."""
    slips = {text for text in odd if not any(is_number(text, style) for style in STYLES)}
    others = sum(text in slips for text in texts)
    if sum(text is not None for text in texts) < 2 * others:
        return
    row = next(row for row, text in enumerate(texts) if text in odd)
    raise unusable(
        place(row),
        "a number",
        shown(texts[row]),
        "write all numbers alike, and leave a cell empty where its number is not known",
    )


def _of_numbers(name: str, kind: Kind, values: Cells, place: OnePlace) -> Column:
    with np.errstate(over="ignore"):
        beyond = np.isinf(values.astype(np.float32))
    if beyond.any():
        row = int(beyond.argmax())
        expected = "finite numbers within float32's range"
        raise unusable(place(row), expected, f"{values[row]:g}", "mend or remove that row")
    known = values[~np.isnan(values)]
    why = None
    if not len(known):
        why = "nothing but missing values"
    elif kind == "number" and (is_key(name, known) or _counts(values)):
        why = COUNTER
    return Column(name, kind, values, why)


def _are_different(values: Cells) -> bool:
    """Whether these are three whole numbers or more, each there once."""
    whole = len(values) > 2 and not (values % 1 != 0).any()
    return whole and len(np.unique(values)) == len(values)


def _counts(values: Cells) -> bool:
    """Whether these are one range of whole numbers, in any order. (A nan is not whole.)"""
    return _are_different(values) and bool(np.ptp(values) == len(values) - 1)


def is_key(name: str, values: Cells) -> bool:
    """Whether these are different whole numbers, in a column that is called a key: "id",
    "customer_no", "고객번호".
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    called = name == UNNAMED or bool(_KEY.fullmatch(words)) or words.endswith(_KOREAN_KEYS)
    return called and _are_different(values)


def without_keys(x: Cells, names: Sequence[str]) -> tuple[Cells, list[int], tuple[str, ...]]:
    """Numbers (n, features) without the columns that only tell the rows apart, unless there are no
    others; which are left, and a line that names those that are not.
    """
    kept = [k for k, name in enumerate(names) if not is_key(name, x[:, k])]
    if len(kept) in (0, len(names)):
        return x, list(range(len(names))), ()
    left = [name for k, name in enumerate(names) if k not in kept]
    return x[:, kept], kept, (f"left out: {', '.join(left)} ({COUNTER})",)


def _why_no_category(texts: Cells, known: set[str]) -> str | None:
    if all(_DATE.fullmatch(text) for text in known):
        return DATE
    rows = sum(text is not None for text in texts)
    if len(known) == rows > 1:
        return "another text in every row"
    return None

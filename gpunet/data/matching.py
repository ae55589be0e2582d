"""Which columns of new rows are those that a network reads: by their names, or by their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpunet.data.cells import is_number
from gpunet.data.columns import LABEL_NAMES
from gpunet.data.description import Description
from gpunet.data.errors import DataError, unusable


@dataclass(frozen=True)
class Match:
    """places: of the columns that are read, in the network's order. label: where that is which is
    predicted, None if nowhere. notes: what a user should know, in lines.
    """

    places: list[int]
    label: int | None
    notes: list[str]


def has_header(cells: Sequence[str], about: Description) -> bool:
    """Whether a file's first line has names: some of those that are known, 0, 1, 2, ..., or, where
    the columns have names or are numbers, no number.
    """
    stripped = [cell.strip() for cell in cells]
    known = {*(about.header or ()), *(about.columns or ()), about.label}
    if known & {*stripped} or stripped == [str(k) for k in range(len(cells))] != ["0"]:
        return True
    if any(cell.lower() in LABEL_NAMES for cell in stripped):
        return True
    return (about.titled or about.features is None) and not any(map(is_number, stripped))


def match(
    names: list[str] | None, count: int, about: Description, where: object, truth: bool
) -> Match:
    """The columns among `count`, which have these names or none. truth: the label is needed.

    DataError that lists all columns that are missing and all that nobody knows.
    """
    header = about.header or ()
    orders = (list(header), [name for name in header if name != about.label])
    same = len({*header}) < len(header) and names in orders
    numbered = names and names == [str(k) for k in range(count)]
    if names is None or numbered or not about.titled or same:
        return _by_place(count, about, where, truth)
    return _by_name(names, about, where, truth)


def _by_name(names: Sequence[str], about: Description, where: object, truth: bool) -> Match:
    wanted, header = about.columns or (), about.header or ()
    needed = (*wanted, about.label) if truth and about.label else wanted
    missing = [name for name in needed if name not in names]
    extra = [name for name in names if name not in header]
    if missing or extra:
        raise mismatch(where, needed, missing, extra)
    twice = sorted({name for name in (*wanted, about.label) if name and names.count(name) > 1})
    if twice or len({*wanted}) < len(wanted):
        found = f"{', '.join(twice) or 'names'} more than once"
        hint = "name each column in its own way, or keep the order of the training file"
        raise unusable(where, "every column once", found, hint)
    label = names.index(about.label) if about.label in names else None
    return _matched([names.index(name) for name in wanted], label, about, where, truth)


def mismatch(
    where: object, wanted: Sequence[str], missing: Sequence[str], extra: Sequence[str]
) -> DataError:
    """The error that lists what is missing and what is too much."""
    remedy = "rename them" if missing and extra else "add them" if missing else "leave them out"
    return DataError(
        f"{where}: expected the columns {listed(wanted)}; missing: {listed(missing)}; unknown: "
        f"{listed(extra)}; {remedy}"
    )


MANY = 30


def listed(names: Sequence[str]) -> str:
    """The names, "none" for none; of very many the first."""
    rest = f", ... ({len(names)} in all)" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + rest if names else "none"


def without(rows: int, label: str | None) -> list[str]:
    """What is said of rows in which it is not known what is predicted."""
    return [f"left out: {counted(rows)} without {label}"] if rows else []


def counted(rows: int) -> str:
    """ "1 row", "2 rows"."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _by_place(count: int, about: Description, where: object, truth: bool) -> Match:
    """As in the training file, with the label's column or without it; or only what is read."""
    header, label = list(about.header or ()), about.label
    if header and label in header:
        at = header.index(label)
        without = header[:at] + header[at + 1 :]
        places = _places(header, at, about)
        if count == len(header):
            return _matched(places, at, about, where, truth)
        if count == len(without):
            return _matched([k - (k > at) for k in places], None, about, where, truth)
    if count != about.count:
        more = f" (or {len(header)} with what is predicted)" if header else ""
        raise unusable(
            where,
            f"{about.count} columns{more}, as the network was trained on",
            str(count),
            f"give {listed(about.read)}",
        )
    return _matched(list(range(count)), None, about, where, truth)


def _places(header: list[str], label: int, about: Description) -> list[int]:
    """Where in the header the columns are: they are in its order, also where two have one name."""
    places, start = [], 0
    for name in about.columns or ():
        at = header.index(name, start)
        at = header.index(name, at + 1) if at == label else at
        places.append(at)
        start = at + 1
    return places


def _matched(
    places: list[int], label: int | None, about: Description, where: object, truth: bool
) -> Match:
    if truth and label is None:
        raise unusable(
            where,
            f"the column {about.label!r} to compare with" if about.titled else "what is true",
            "none",
            "add it: an evaluation needs to know what is right",
        )
    notes = []
    if label is not None and not truth and about.titled:
        notes.append(f"{where}: the column {about.label!r} is not read: it is what is predicted")
    return Match(places, label, notes)

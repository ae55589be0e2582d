"""Are the targets classes or numbers? One rule for every kind of file.

Text is classes. Numbers with a fraction anywhere are numbers (regression). Whole numbers, whatever
their type, are classes if they are exactly 0..K-1 or 1..K, or if at most 20 of them differ;
otherwise nothing says whether they count something (Undecided): the caller is asked. Classes are
numbered 0..K-1 in sorted order (numbers by size, text by code point) and keep their names, as they
are written: two different labels of a file are never one class.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.data.errors import DataError, shown, unusable

Target: TypeAlias = Literal["auto", "class", "number"]
Targets: TypeAlias = tuple[NDArray[Any], tuple[str, ...] | None]

FEW = 20


class Undecided(DataError):
    """Whole numbers of which nothing says what they are. found: how many there are, and which."""

    def __init__(self, where: str, found: str) -> None:
        super().__init__(
            f"{where}: expected whole numbers 0..K-1 or 1..K, or at most {FEW} different ones, as "
            f"class labels, found {found}; pass target='class' if they are labels, "
            "target='number' if they are quantities"
        )
        self.found = found


_BLUR = 1e-5  # of the targets' spread: more than float32's rounding of numbers around 0


def read_targets(
    t: NDArray[Any], where: str, target: Target = "auto", written: NDArray[Any] | None = None
) -> Targets:
    """(labels int64 (n,), class names), or (numbers float32 (n, outputs), None), float64 where
    float32 would blur them.

    t: (n,), (n, 1) or, for numbers, (n, outputs); text, bools, integers or floats, and none of
    them nan. target: "class" or "number" settles what the rule above would have to guess.
    written: the text (n,) that the file has for each number.
    Raises DataError, naming `where`, if the targets do not allow it, Undecided if only the reader
    can tell; ValueError for `target`.
    """
    if target not in ("auto", "class", "number"):
        raise ValueError(f"target must be 'auto', 'class' or 'number', got {target!r}")
    column = t[:, 0] if t.ndim == 2 and t.shape[1] == 1 else t
    if t.dtype.kind in "US":
        return _text(column, where, target)
    whole = t.dtype.kind != "f" or bool((t == np.floor(t)).all())
    if column.ndim == 2:
        return _several(column, whole, where, target)
    if target == "number" or (target == "auto" and not whole):
        return _numbers(column).reshape(-1, 1), None
    if not whole:
        row = int(np.argmax(column != np.floor(column)))
        raise unusable(
            where,
            "whole numbers as class labels",
            f"{column[row]} in row {row}",
            "leave out target='class'",
        )
    return _whole(column, where, target, written)


def _several(t: NDArray[Any], whole: bool, where: str, target: Target) -> Targets:
    """Numbers. Whole ones may be one-hot labels, whatever their type."""
    if target == "class" or (target == "auto" and whole):
        raise unusable(
            where,
            "labels of shape (n,)",
            f"{'whole numbers in ' if t.dtype.kind == 'f' else ''}{t.dtype} of shape {t.shape}",
            "turn one-hot labels into numbers with argmax(axis=1); pass target='number' if they "
            "are quantities",
        )
    return _numbers(t), None


def _numbers(t: NDArray[Any]) -> NDArray[Any]:
    """As float32; as float64 where that would blur their differences, as it does to times in
    seconds.
    """
    exact, single = t.astype(np.float64), t.astype(np.float32)
    lost = np.abs(single - exact).max(axis=0)
    return exact if (lost > _BLUR * exact.std(axis=0)).any() else single


def _text(t: NDArray[Any], where: str, target: Target) -> Targets:
    if t.ndim != 1:
        raise unusable(where, "text labels of shape (n,)", f"shape {t.shape}", "keep one column")
    if target == "number":
        raise unusable(where, "numbers", f"text, {shown(str(t[0]))}", "leave out target='number'")
    values, labels = np.unique(t, return_inverse=True)
    if target == "auto" and len(values) > FEW and 2 * len(values) > len(t):
        raise unusable(
            where,
            "class labels",
            f"{len(values)} different texts in {len(t)} rows",
            "is this the label column? Pass target='class' if it is",
        )
    return _labels(labels, _names(values), where)


def _names(values: NDArray[Any]) -> list[str]:
    """Text as it is, each its own: bytes in UTF-8, or what stands for bytes that are not."""
    if values.dtype.kind != "S":
        return [str(value) for value in values]
    names = [bytes(value).decode("utf-8", "backslashreplace") for value in values]
    return names if len(set(names)) == len(names) else [str(bytes(value)) for value in values]


def _whole(t: NDArray[Any], where: str, target: Target, written: NDArray[Any] | None) -> Targets:
    values, labels = np.unique(t, return_inverse=True)
    first, last = int(values[0]), int(values[-1])
    names = [str(int(value)) for value in values]
    if written is not None:
        names, labels = _spellings(written, where, target)
    dense = first in (0, 1) and last - first == len(names) - 1
    if target == "auto" and not dense and len(names) > FEW:
        raise Undecided(where, f"{len(names)} different ones from {first} to {last}")
    return _labels(labels, names, where)


def _spellings(written: NDArray[Any], where: str, target: Target) -> tuple[list[str], NDArray[Any]]:
    """The different texts of whole numbers, by size, and each row's place among them.

    DataError where two texts are one number, such as 1 and 1.0, unless they are said to be labels.
    """
    texts, labels = np.unique(written, return_inverse=True)
    sizes = [Decimal(str(text).replace(",", ".")) for text in texts]  # exact, at any length
    order = sorted(range(len(texts)), key=lambda k: (sizes[k], texts[k]))
    names = [str(texts[k]) for k in order]
    twins = [(a, b) for a, b in pairwise(order) if sizes[a] == sizes[b]]
    if target == "auto" and twins:
        one, other = (shown(str(texts[k])) for k in twins[0])
        raise unusable(
            where,
            "each label written in one way",
            f"{one} and {other}, which are one number",
            "write them alike, or pass target='class' if they are two labels",
        )
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return names, places[labels]


def _labels(labels: NDArray[Any], names: list[str], where: str) -> Targets:
    if len(names) < 2:
        raise unusable(
            where, "at least two classes", f"only {shown(names[0])}", "there is nothing to learn"
        )
    return labels.astype(np.int64), tuple(names)


def check_known(
    train: NDArray[Any], other: NDArray[Any], names: tuple[str, ...], where: str
) -> None:
    """Raise DataError where `other` has a label that the training labels lack."""
    unknown = np.isin(other, train, invert=True)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(
            f"{where}: expected the training part's classes, found {shown(names[other[row]])} "
            f"in row {row}; check that the files belong together"
        )


def class_values(names: tuple[str, ...]) -> NDArray[Any]:
    """The classes (K,) as predictions name them: int64 where all are whole numbers as Python writes
    them, else text.
    """
    try:
        numbers = [int(name) for name in names]
    except ValueError:
        return np.array(names)
    if [str(number) for number in numbers] != list(names) or max(map(abs, numbers)) >= 2**63:
        return np.array(names)
    return np.array(numbers, np.int64)


def known_labels(
    t: NDArray[Any], names: tuple[str, ...], place: Callable[[int], str]
) -> NDArray[np.int64]:
    """Labels 0..K-1, int64 (n,), of names or numbers as a file has them. DataError, with its place,
    for what is none of the classes.
    """
    if t.ndim == 2 and t.shape[1] == 1:
        t = t[:, 0]
    if t.ndim != 1:
        raise unusable("t", "class labels of shape (n,)", f"shape {t.shape}", "keep one column")
    known = {name: k for k, name in enumerate(names)}
    numbers = {float(name): k for name, k in known.items() if _is_whole(name)}
    found = np.empty(len(t), np.int64)
    for row, value in enumerate(t.tolist()):
        text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        label = known.get(text.strip())
        if label is None and _is_whole(text):
            label = numbers.get(float(text))
        if label is None:
            raise unusable(
                place(row),
                f"one of the classes {shown(', '.join(names))}",
                shown(value),
                "check that the rows are of the kind that the network was trained on",
            )
        found[row] = label
    return found


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False

"""Are the targets classes or numbers? One rule for every kind of file.

Text is classes. Numbers with a fraction anywhere are numbers (regression). Whole numbers, whatever
their type, are classes if they are exactly 0..K-1 or 1..K, or if at most 20 of them differ;
otherwise nothing says whether they count something, and the reader is asked to. Classes are
numbered 0..K-1 in sorted order (numbers by size, text by code point) and keep their names.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.data.errors import DataError, shown, unusable

Target: TypeAlias = Literal["auto", "class", "number"]
Targets: TypeAlias = tuple[NDArray[Any], tuple[str, ...] | None]

_FEW = 20


def read_targets(t: NDArray[Any], where: str, target: Target = "auto") -> Targets:
    """(labels int64 (n,), class names), or (numbers float32 (n, outputs), None).

    t: (n,), (n, 1) or, for numbers, (n, outputs); text, bools, integers or floats, and none of
    them nan. target: "class" or "number" settles what the rule above would have to guess.
    Raises DataError, naming `where`, if the targets do not allow it; ValueError for `target`.
    """
    if target not in ("auto", "class", "number"):
        raise ValueError(f"target must be 'auto', 'class' or 'number', got {target!r}")
    column = t[:, 0] if t.ndim == 2 and t.shape[1] == 1 else t
    if t.dtype.kind in "US":
        return _text(column, where, target)
    whole = t.dtype.kind != "f" or bool((t == np.floor(t)).all())
    if column.ndim == 2:
        return _several(column, where, target)
    if target == "number" or (target == "auto" and not whole):
        return column.astype(np.float32).reshape(-1, 1), None
    if not whole:
        row = int(np.argmax(column != np.floor(column)))
        raise unusable(
            where,
            "whole numbers as class labels",
            f"{column[row]} in row {row}",
            "leave out target='class'",
        )
    return _whole(column, where, target)


def _several(t: NDArray[Any], where: str, target: Target) -> Targets:
    if target == "class" or (target == "auto" and t.dtype.kind != "f"):
        raise unusable(
            where,
            "labels of shape (n,)",
            f"{t.dtype} of shape {t.shape}",
            "turn one-hot labels into numbers with argmax(axis=1)",
        )
    return t.astype(np.float32), None


def _text(t: NDArray[Any], where: str, target: Target) -> Targets:
    if t.ndim != 1:
        raise unusable(where, "text labels of shape (n,)", f"shape {t.shape}", "keep one column")
    if target == "number":
        raise unusable(where, "numbers", f"text, {shown(str(t[0]))}", "leave out target='number'")
    values, labels = np.unique(t, return_inverse=True)
    if target == "auto" and len(values) > _FEW and 2 * len(values) > len(t):
        raise unusable(
            where,
            "class labels",
            f"{len(values)} different texts in {len(t)} rows",
            "is this the label column? Pass target='class' if it is",
        )
    return _labels(labels, [_name(value) for value in values], where)


def _name(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _whole(t: NDArray[Any], where: str, target: Target) -> Targets:
    values, labels = np.unique(t, return_inverse=True)
    count, first, last = len(values), int(values[0]), int(values[-1])
    dense = first in (0, 1) and last - first == count - 1
    if target == "auto" and not dense and count > _FEW:
        raise unusable(
            where,
            f"whole numbers 0..K-1 or 1..K, or at most {_FEW} different ones, as class labels",
            f"{count} different ones from {first} to {last}",
            "pass target='class' if they are labels, target='number' if they are quantities",
        )
    return _labels(labels, [str(int(value)) for value in values], where)


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

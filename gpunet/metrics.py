"""How good predictions are, as functions of NumPy arrays (`r2` of CuPy's too): of numbers R2, MAE
and RMSE, of classes the accuracy, the confusion matrix, and precision, recall and F1 of each class.

t is what is true, y what is predicted; the names are those of Pedregosa et al., "Scikit-learn"
(2011), and so are the values, which a test holds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.backend import array_module

Array: TypeAlias = NDArray[Any]

MOST_CLASSES = 20  # whose matrix fits on a screen
_WIDTH = 12  # of a class's name in a table


class Scores(NamedTuple):
    """Of each class 0..K-1, float64 (K,): what share of what was called so is so, what share of
    what is so was called so, their harmonic mean; and its rows, int64 (K,).
    """

    precision: Array
    recall: Array
    f1: Array
    rows: Array


def accuracy(t: Array, y: Array) -> float:
    """The share of rows (n,) where the label is right."""
    return float(np.mean(t == y))


def confusion(t: Array, y: Array, classes: int) -> Array:
    """Counts int64 (classes, classes): row i, column j has the rows of class i that are called j.

    t, y: integer labels (n,), 0..classes-1.
    """
    pairs = t.astype(np.int64) * classes + y.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores(matrix: Array) -> Scores:
    """Precision, recall and F1 from a confusion matrix; 0 where nothing was called so, or is."""
    right, called, rows = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return Scores(
        _ratio(right, called), _ratio(right, rows), _ratio(2 * right, called + rows), rows
    )


def r2(t: Any, y: Any, weight: Any = None) -> float:
    """The share of the targets' variance that is explained, 1 - sum (t - y)^2 / sum (t - mean)^2;
    below 0 for what is worse than the mean. Of targets that do not vary: 1 if all are right, else
    0. Of several outputs (n, outputs) their mean. weight: (n,), what each row counts.
    """
    t, y = _columns(t), _columns(y)
    xp = array_module(t)
    around = t - xp.average(t, axis=0, weights=weight)
    left, whole = (xp.average(d**2, axis=0, weights=weight) for d in (t - y, around))
    varies = whole > 0
    explained = 1 - left / xp.where(varies, whole, 1)
    return float(xp.where(varies, explained, xp.where(left, 0, 1)).mean())


def mae(t: Array, y: Array) -> float:
    """The mean of |t - y|, in the targets' unit."""
    return float(np.abs(_columns(t) - _columns(y)).mean())


def rmse(t: Array, y: Array) -> float:
    """The root of the mean of (t - y)^2, in the targets' unit; of several outputs, of all."""
    return float(np.sqrt(((_columns(t) - _columns(y)) ** 2).mean()))


def number_report(t: Array, y: Array) -> str:
    """ "R2 0.9312, MAE 1834, RMSE 2502" for numbers (n,) or (n, outputs)."""
    return f"R2 {r2(t, y):.4f}, MAE {mae(t, y):.4g}, RMSE {rmse(t, y):.4g}"


def class_report(t: Array, y: Array, names: Sequence[str]) -> str:
    """The accuracy, a table with precision, recall and F1 of each class, and the confusion matrix
    as far as it fits on a screen, in lines of text. t, y: integer labels (n,) of `names`.
    """
    matrix = confusion(t, y, len(names))
    lines = [f"accuracy {accuracy(t, y):.4f} of {len(t):,} rows", "", *_per_class(matrix, names)]
    if len(names) <= MOST_CLASSES:
        lines += ["", *_matrix(matrix, names)]
    return "\n".join(lines)


def _per_class(matrix: Array, names: Sequence[str]) -> list[str]:
    """The classes with the lowest F1, if not all fit; then their plain mean."""
    found = scores(matrix)
    shown = list(range(len(names)))
    if len(names) > MOST_CLASSES:
        shown = sorted(np.argsort(found.f1, kind="stable")[:MOST_CLASSES].tolist())
    width = max([len("mean"), *(len(_cut(names[k])) for k in shown)])
    lines = [f"{'':{width}}  precision  recall     F1     rows"]
    for k in shown:
        precision, recall, f1, rows = (column[k] for column in found)
        lines.append(_line(_cut(names[k]), width, precision, recall, f1, rows))
    if len(shown) < len(names):
        lines.append(f"(the {len(shown)} classes of {len(names)} with the lowest F1)")
    precision, recall, f1 = (float(column.mean()) for column in found[:3])
    return [*lines, _line("mean", width, precision, recall, f1, int(found.rows.sum()))]


def _line(name: str, width: int, precision: float, recall: float, f1: float, rows: int) -> str:
    return f"{name:{width}}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}  {rows:6,}".rstrip()


def _matrix(matrix: Array, names: Sequence[str]) -> list[str]:
    """Rows are what is so, columns what it is called."""
    short = [_cut(name) for name in names]
    most = len(str(int(matrix.max())))
    width, cells = max(map(len, short)), [max(len(name), most) for name in short]
    heads = "  ".join(f"{name:>{cell}}" for name, cell in zip(short, cells, strict=True))
    lines = ["confusion (rows: true, columns: predicted)", f"{'':{width}}  {heads}"]
    for name, row in zip(short, matrix.tolist(), strict=True):
        counts = "  ".join(f"{count:>{cell}}" for count, cell in zip(row, cells, strict=True))
        lines.append(f"{name:{width}}  {counts}")
    return lines


def _cut(name: str) -> str:
    return name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."


def _columns(numbers: Any) -> Any:
    """float64 (n, outputs)."""
    xp = array_module(numbers) or np
    return xp.asarray(numbers, np.float64).reshape(len(numbers), -1)


def _ratio(part: Array, whole: Array) -> Array:
    return part / np.maximum(whole, 1)

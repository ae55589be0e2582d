"""From the raw arrays of a file to a checked Dataset: the one way for IDX, CSV and npz."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gpunet.data.dataset import SHARES, Array, Dataset, Shares, Split, split
from gpunet.data.errors import CellError, DataError, unusable
from gpunet.data.targets import Target, check_known, read_targets
from gpunet.files import readable

Place: TypeAlias = Callable[[int, int | None], str]

PIXEL = 255.0
EXACT = 2**53  # whole numbers up to here are exact in float64


def _row_and_column(row: int, column: int | None) -> str:
    return f"row {row}" + ("" if column is None else f", column {column}") + " (counted from 0)"


@dataclass(frozen=True, eq=False)
class Part:
    """Raw rows x (n, ...) and targets t, with what to call each of them in an error.

    place: where in the file a row's column is, the column being None for the target.
    written: the text of each target, where t has the numbers that it stands for.
    """

    x: Array
    t: Array
    x_name: str
    t_name: str
    place: Place = _row_and_column
    written: Array | None = None

    def check(self) -> None:
        """Raise DataError unless x and t are finite numbers in shapes that fit together."""
        x, t = self.x, self.t
        if x.dtype.kind not in "biuf" or x.ndim < 2 or 0 in x.shape:
            raise unusable(
                self.x_name,
                "numbers of shape (rows, features)",
                f"{x.dtype} of shape {x.shape}",
                "convert it, one sample a row",
            )
        if t.dtype.kind not in "biufUS" or t.ndim not in (1, 2) or t.size == 0:
            raise unusable(
                self.t_name,
                "labels or numbers of shape (rows,)",
                f"{t.dtype} of shape {t.shape}",
                "convert it, one target a row",
            )
        if len(x) != len(t):
            raise unusable(
                self.t_name,
                f"{len(x)} targets, one for each row of {self.x_name}",
                f"{len(t)}",
                "check that the two belong together",
            )
        bad = _non_finite(x)
        if bad is not None:
            self._refuse(self.x_name, x.reshape(len(x), -1)[bad], self.place(*bad))
        bad = _non_finite(t)
        if bad is not None:
            self._refuse(self.t_name, t.reshape(len(t), -1)[bad], self.place(bad[0], None))

    def _refuse(self, name: str, value: float, place: str) -> None:
        raise unusable(
            name,
            "finite numbers within float32's range",
            f"{value} in {place}",
            "mend or remove that row",
            CellError if np.isnan(value) and name == self.x_name else DataError,
        )


def _non_finite(values: Array) -> tuple[int, int] | None:
    """(row, column) of the first value that float32 cannot hold, if there is one."""
    if values.dtype.kind != "f":
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: inf; a nan that signals
        bad = ~np.isfinite(values.reshape(len(values), -1).astype(np.float32, copy=False))
    if not bad.any():
        return None
    row, column = np.unravel_index(np.argmax(bad), bad.shape)
    return int(row), int(column)


def assemble(
    name: str,
    train: Part,
    valid: Part | None = None,
    test: Part | None = None,
    *,
    normalise: bool = True,
    target: Target = "auto",
    shares: Shares = SHARES,
) -> Dataset:
    """Check the parts, number the classes, cut what is missing from train, scale the features.

    uint8 samples of two axes or more are images and are divided by 255; all other features are
    standardised by the training part's mean and standard deviation. `normalise=False` keeps raw
    values, as uint8 or float32. Raises DataError.
    """
    dataset = gather(name, train, valid, test, target=target, shares=shares)
    image = train.x.dtype == np.uint8 and train.x.ndim > 2
    if not normalise:
        return dataset if image else dataset.rescaled(0.0, 1.0)
    return dataset.rescaled(0.0, PIXEL) if image else dataset.standardised()


def gather(
    name: str,
    train: Part,
    valid: Part | None = None,
    test: Part | None = None,
    *,
    target: Target = "auto",
    shares: Shares = SHARES,
) -> Dataset:
    """All that `assemble` does but for the scale: whole numbers above two bytes are float64."""
    parts = [part for part in (train, valid, test) if part is not None]
    for part in parts:
        part.check()
        if _sample(part.x) != _sample(train.x):
            raise unusable(
                part.x_name,
                f"{_sample(train.x)} as in {train.x_name}",
                _sample(part.x),
                "check that the two belong together",
            )
    targets, classes = _targets(parts, target)
    image = train.x.dtype == np.uint8 and train.x.ndim > 2
    rows = [
        Split(_features(part.x, keep_bytes=image), t)
        for part, t in zip(parts, targets, strict=True)
    ]
    cut = Shares(0 if valid else shares.valid, 0 if test else shares.test)
    three = _three_parts(rows, cut, valid is not None, classes is not None, train.x_name)
    shape = train.x.shape[1:] if train.x.ndim > 2 else None
    return Dataset(readable(name), *three, classes, shape=shape)


def _sample(x: Array) -> str:
    # Bytes beside other numbers would be pixels on two scales, 0..255 and most likely 0..1.
    kind = "bytes" if x.dtype == np.uint8 else "numbers other than bytes"
    return f"samples of shape {x.shape[1:]} of {kind}"


def _features(x: Array, keep_bytes: bool) -> Array:
    rows = x.reshape(len(x), -1)
    if keep_bytes or rows.dtype.kind == "f":
        return rows
    # float32 would round large whole numbers before their mean is taken off.
    return rows.astype(np.float32 if rows.dtype.itemsize <= 2 else np.float64)


def _targets(parts: list[Part], target: Target) -> tuple[list[Array], tuple[str, ...] | None]:
    """Every part's targets, numbered together so that a label means the same in each."""
    train = parts[0]
    for part in parts:
        if part.t.shape[1:] != train.t.shape[1:] or _text_kind(part.t) != _text_kind(train.t):
            raise unusable(
                part.t_name,
                f"targets like the {train.t.dtype} of shape {train.t.shape} in {train.t_name}",
                f"{part.t.dtype} of shape {part.t.shape}",
                "check that the two belong together",
            )
    together, classes = read_targets(_together(parts), train.t_name, target, train.written)
    ends = np.cumsum([len(part.t) for part in parts])
    targets = np.split(together, ends[:-1])
    if classes is not None:
        for part, t in zip(parts, targets, strict=True):
            check_known(targets[0], t, classes, part.t_name)
    return targets, classes


def _together(parts: list[Part]) -> Array:
    """The targets of all parts. DataError where one dtype would make one of two of them."""
    whole = [part.t for part in parts if part.t.dtype.kind in "iu" and part.t.size]
    together = np.concatenate([part.t for part in parts])
    if together.dtype.kind == "f" and any(max(-int(t.min()), int(t.max())) > EXACT for t in whole):
        kinds = " and ".join(sorted({str(part.t.dtype) for part in parts}))
        raise unusable(
            parts[0].t_name, "targets of one type", f"{kinds}, beyond 2^53", "store them alike"
        )
    return together


def _text_kind(t: Array) -> str:
    return t.dtype.kind if t.dtype.kind in "US" else "number"


def _three_parts(
    rows: list[Split], cut: Shares, has_valid: bool, classes: bool, name: str
) -> tuple[Split, Split, Split]:
    """(train, valid, test), where those that the files do not give are cut from train."""
    whole, *given = rows
    try:
        train, valid, test = split(whole.x, whole.t, *cut, stratify=classes)
    except DataError as error:
        raise DataError(f"{name}: {error}; more rows are needed") from None
    return train, given[0] if has_valid else valid, given[-1] if len(given) > has_valid else test

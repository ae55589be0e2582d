"""DataFrames, and the Parquet files that pandas makes one of."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpunet.data.assemble import Part, assemble
from gpunet.data.columns import UNNAMED, Label, titled
from gpunet.data.dataset import SHARES, Dataset, Shares
from gpunet.data.errors import DataError, PathLike, unusable
from gpunet.data.features import Cells, as_texts, is_missing
from gpunet.data.kinds import without_keys
from gpunet.data.matching import without
from gpunet.data.mixed import Table, learn
from gpunet.data.targets import Target

SUFFIX = ".parquet"
_PANDAS = "Unnamed: 0"  # of a file's first column, where it has no name


def read_parquet(path: PathLike) -> Any:
    """The file as a pandas DataFrame. ImportError without pandas or pyarrow; DataError where it is
    none.
    """
    from gpunet.extras import extra  # gpunet.data stands alone until this is asked for

    pandas = extra("pandas", "tables", "reading Parquet")
    extra("pyarrow", "tables", "reading Parquet")
    try:
        return pandas.read_parquet(os.fspath(path))
    except Exception as error:  # of pyarrow, of the system, of damaged bytes
        raise unusable(
            path, "a Parquet file", f"{type(error).__name__}: {error}", "check it"
        ) from None


def columns_of(frame: Any) -> tuple[list[str], Callable[[int], Cells]]:
    """The names of a frame's columns, and what gives the cells (n,) of the k-th: numbers as they
    are, all else as objects. Of pandas, polars, or what is like them.
    """
    names = [UNNAMED if name == _PANDAS else str(name) for name in frame.columns]

    def column(k: int) -> Cells:
        return cells(frame.iloc[:, k] if hasattr(frame, "iloc") else frame[frame.columns[k]])

    return names, column


def cells(column: Any) -> Cells:
    """A column (n,) as an array: numbers, dates as they are, all else as objects."""
    try:
        found = np.atleast_1d(np.asarray(column))
    except ValueError:  # lists of several lengths among the cells
        found = np.empty(len(column), object)
        found[:] = list(column)
    if found.ndim > 1:
        raise DataError(f"a column must have one value a row, got shape {found.shape}")
    return found if found.dtype.kind in "biufMm" else found.astype(object)


def load_frame(
    frame: Any,
    name: str = "frame",
    *,
    normalise: bool = True,
    target: Target = "auto",
    label: Label = None,
    shares: Shares = SHARES,
) -> Dataset:
    """The data set in a DataFrame, as `load_csv` reads it from a file: its columns have names, and
    the label is the one called "label", "target" or "class", or the last.
    """
    names, column = columns_of(frame)
    if len(names) < 2 or not len(frame):
        counted = f"{len(frame)} rows of {len(names)}"
        raise unusable(name, "rows of two columns or more", counted, "check that it is the table")
    columns = titled(name, names, label)
    at = columns.labels[-1]
    names = [columns.name(k) for k in range(columns.count)]
    kept = [k for k in range(columns.count) if k != at]

    t, rows = _target(column(at))
    t_name = f"{name}: {columns.called(at)}"
    if not len(rows):
        raise unusable(t_name, "labels", "nothing but missing values", "is this the label column?")

    def place(row: int, k: int | None) -> str:
        called = columns.called(at if k is None else kept[k])
        return f"row {rows[row]} (counted from 0), {called}"

    read = [column(k)[rows] for k in kept]
    options: Any = {"normalise": normalise, "target": target, "shares": shares}
    if all(c.dtype.kind in "iuf" and not np.isnan(c).any() for c in read):
        x = np.column_stack([c.astype(np.float64) for c in read])
        x, used, notes = without_keys(x, [names[k] for k in kept])
        kept = [kept[k] for k in used]
        part = Part(x, t, name, t_name, place)
        found = assemble(Path(name).stem, part, **options)
        found = replace(found, columns=tuple(names[k] for k in kept), notes=notes)
    else:
        part = Part(np.arange(len(t)).reshape(-1, 1), t, name, t_name, place)
        titles = [names[k] for k in kept]
        found = learn(
            Table(name, titles, read, part, lambda row, k: f"{name}: {place(row, k)}"), **options
        )
    notes = (*found.notes, *without(len(frame) - len(rows), columns.name(at)))
    return replace(found, label=columns.name(at), header=tuple(names), notes=notes)


def _target(given: Cells) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Numbers or text, and of which rows: of those where it is not missing."""
    rows = np.flatnonzero([not is_missing(cell) for cell in given.tolist()])
    known = given[rows]
    if known.dtype.kind in "iuf":
        return known, rows
    if all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in known):
        with suppress(OverflowError):
            return known.astype(np.float64), rows  # of a nullable type
    return as_texts(known.astype(object)).astype(str), rows

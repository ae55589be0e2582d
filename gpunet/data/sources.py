"""Where new rows may be: arrays, DataFrames, dicts of columns, files, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import npz
from gpunet.data.description import Description
from gpunet.data.digits import digits
from gpunet.data.errors import DataError, read_bytes, shown, unusable
from gpunet.data.frames import SUFFIX, cells, columns_of, read_parquet
from gpunet.data.idx import held_out, read_idx
from gpunet.data.rows import Rows, from_array, from_columns, from_csv
from gpunet.files import readable

STDIN = "-"
_ACCEPTED = "a .csv, .npz or .parquet file, a folder of IDX files, 'digits' or '-' (standard input)"


def open_rows(source: Any, about: Description, truth: bool = False) -> Rows:
    """The rows of an array, a DataFrame, a dict of columns or a path. truth: with what is true of
    them.

    DataError where there are none, or their columns are others than those of `about`.
    """
    if isinstance(source, (str, os.PathLike)):
        return _of_path(source, about, truth)
    names = getattr(getattr(source, "dtype", None), "names", None)
    if names:  # of a structured array
        source = {name: source[name] for name in names}
    if isinstance(source, Mapping):
        names = [str(name) for name in source]
        columns = [cells(column) for column in source.values()]
        return from_columns(names, columns.__getitem__, about, "the dict", truth)
    if not hasattr(source, "columns"):
        if truth:
            raise TypeError("score(x, t): give t, what is true of the rows of x")
        return from_array(_array(source), None, about)
    names, column = columns_of(source)
    return from_columns(names, column, about, f"the {type(source).__name__}", truth)


def _array(source: Any) -> Any:
    """An array as it is, whatever its module; lists as one."""
    if hasattr(source, "dtype") and hasattr(source, "ndim"):
        return source
    try:
        found = np.asarray(source)
    except ValueError as error:
        raise DataError(f"x is no array of rows: {error}") from None
    # NumPy makes text of numbers beside text.
    return np.asarray(source, object) if found.dtype.kind in "US" else found


def _of_path(path: str | os.PathLike[str], about: Description, truth: bool) -> Rows:
    if os.fspath(path) == STDIN:
        content = sys.stdin.buffer.read()
        if not content:
            raise unusable("standard input", "rows", "nothing (0 bytes)", "pipe a file to it")
        kind = ".npz" if content.startswith(b"PK") else ".csv"
        return _of_bytes("standard input", content, kind, about, truth)
    if os.fspath(path) == "digits":
        held = digits(normalise=False).test
        rows = from_array(held.x, held.t if truth else None, about, "digits")
        rows.notes.append("digits: its 360 test rows")
        return rows
    found, name = Path(path), readable(path)
    if found.is_dir() or not found.exists():
        return _of_folder(found, name, about, truth)
    suffix = Path(found.name.removesuffix(".gz")).suffix.lower()
    if suffix == SUFFIX:
        names, column = columns_of(read_parquet(found))
        return from_columns(names, column, about, name, truth)
    if suffix not in (".csv", ".npz"):
        hint = "convert it to .csv"
        raise unusable(name, _ACCEPTED, f"a file ending in {suffix!r}", hint)
    return _of_bytes(name, read_bytes(path), suffix, about, truth)


def _of_bytes(name: str, content: bytes, kind: str, about: Description, truth: bool) -> Rows:
    if kind == ".csv":
        return from_csv(name, content, about, truth)
    arrays = npz.Arrays(name, content)
    for suffixes in (npz.WHOLE, npz.TEST, npz.VALID, npz.TRAIN):
        x, t = arrays.named(suffixes)
        if x is None or (truth and t is None):
            continue
        values = arrays.read(x)
        rows = from_array(values, arrays.read(t) if truth and t else None, about, f"{name}: {x}")
        if suffixes != npz.WHOLE:
            rows.notes.append(f"{name}: the array {x!r}, {len(values):,} rows")
        return rows
    wanted = "x and t (or x_test and t_test)" if truth else "x (or x_test)"
    raise unusable(name, f"arrays {wanted}", f"the keys {arrays.keys}", "rename the arrays")


def _of_folder(folder: Path, name: str, about: Description, truth: bool) -> Rows:
    found = held_out(folder) if folder.is_dir() or folder.parent.is_dir() else None
    if found is None:
        reason = "no IDX images" if folder.is_dir() else "no such file or folder"
        raise unusable(name, _ACCEPTED, reason, "check the path")
    images, labels = found
    if truth and labels is None:
        raise unusable(name, f"labels beside {images.name}", "none", "put them there")
    x = read_idx(images)
    rows = from_array(x, read_idx(labels) if truth and labels else None, about, str(images))
    rows.notes.append(f"{shown(name)}: the images of {images.name}, {len(x):,} rows")
    return rows

"""Weights of rows: what each row counts in a mean loss, 1 where nothing is said."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import where
from gpunet.backend import Array, array_module, device_of, need_numbers, to_device, to_host
from gpunet.tensor import Tensor


def of_data(weight: Any, rows: int, what: str) -> Array:
    """Weights of all rows of a data set as a float64 array (rows,), where it is.

    Waits for a GPU.

    Raises:
        TypeError: no numbers.
        ValueError: another shape, a weight that is negative, infinite or nan, or only zeros.
    """
    found = weight.data if isinstance(weight, Tensor) else weight
    found = np.asarray(found) if array_module(found) in (None, np) else found
    need_numbers(found, what)
    if found.shape != (rows,):
        raise ValueError(f"{what} must have shape ({rows},), one a row, got {tuple(found.shape)}")
    _refuse(found, what)
    if not bool((found > 0).any()):
        raise ValueError(f"{what} is zero in every row: nothing is left")
    return found.astype(np.float64)


def rows_of(weight: Array) -> np.ndarray[Any, Any] | None:
    """The numbers of the rows that count, on the host; None where all do."""
    counted = weight > 0
    return None if bool(counted.all()) else np.flatnonzero(to_host(counted))


def of_batch(weight: Any, x: Array, name: str, *, relative: bool = True) -> Array:
    """Weights beside the rows of x, as factors in x's dtype: (..., batch, 1), or x's own shape
    where it has one axis.

    Args:
        weight: (batch,), or with x's leading axes.
        relative: the factors of a batch have the mean 1 (0 if all are), so that the mean over
            rows times factors is the weighted mean.

    Raises:
        TypeError: no numbers.
        ValueError: another shape, or a weight that is negative, infinite or nan (on a GPU, which
            cannot raise without waiting, it becomes nan instead).
    """
    xp, what = array_module(x), f"{name}: weight"
    given = array_module(weight) is not None
    found = weight if given else to_device(np.asarray(weight), device_of(x))
    need_numbers(found, what)
    rows = x.shape[:-1] if x.ndim > 1 else x.shape
    if found.shape not in (rows, rows[-1:]):
        raise ValueError(
            f"{what} must have shape {tuple(rows)}, one a row, got {tuple(found.shape)}"
        )
    if xp is np:
        _refuse(found, what)
    wide = found.astype(np.float64)  # sums of many, or of large ones, in float16 too
    if xp is not np:
        wide = xp.where((wide >= 0) & (wide < np.inf), wide, np.nan)
    if relative:
        mean = wide.mean(axis=-1, keepdims=True)
        wide = wide / (mean + (mean == 0))
    return wide.astype(x.dtype)[(..., None) if x.ndim > 1 else ...]


def counted(x: Array, factor: Array | None) -> Array:
    """x with 0 in the rows that count nothing: what an infinity or a nan there did is left out."""
    return x if factor is None else array_module(x).where(factor == 0, x.dtype.type(0), x)


def _refuse(weight: Array, what: str) -> None:
    bad = ~((weight >= 0) & (weight < np.inf))
    place = where.first(bad)
    if place is not None:
        raise ValueError(
            f"{what} {weight[place].item()} in {where.words(place)}; weights are finite numbers "
            "from 0"
        )

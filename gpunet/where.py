"""Where in an array something is not as it should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module

Place = tuple[int, ...]


def first(bad: Array, start: int = 0) -> Place | None:
    """The index of the first True of `bad`, whose first row is row `start`; None if there is none.

    Waits for a GPU.
    """
    if not bool(bad.any()):
        return None
    row, *rest = (int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
    return (start + row, *rest)


def not_finite(array: Array, start: int = 0) -> Place | None:
    """The index of the first infinity or nan, as `first`; None for integers."""
    return first(~array_module(array).isfinite(array), start) if array.dtype.kind == "f" else None


def all_finite(arrays: Iterable[Array]) -> bool:
    """True if no element is infinite or nan. Waits for a GPU, once."""
    good: Any = True
    for array in arrays:
        good = array_module(array).isfinite(array).all() & good
    return bool(good)


def words(place: Place) -> str:
    """ "row 3, column 5", counted from 0."""
    return f"row {place[0]}" + "".join(f", column {k}" for k in place[1:])

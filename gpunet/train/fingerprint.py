"""A short word for much data, by which a training knows it again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, to_host
from gpunet.tensor import Tensor

WHOLE = 4 << 20  # bytes: an array up to this size is hashed whole, of a larger one a sample


def of_data(x: Any, t: Any, weight: Any = None) -> dict[str, Any]:
    """{"x": ..., "t": ...}, "weight" where there is one; for each its shape, dtype, SHA-256, and of
    how many rows that is: all, or where they are more than WHOLE bytes, rows at even distances,
    the first and the last with them.
    """
    given = (("x", x), ("t", t), ("weight", weight))
    return {name: _of(array) for name, array in given if array is not None}


def of_arrays(arrays: Iterable[Array]) -> str:
    """The SHA-256 of their numbers."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(to_host(array)).data)
    return digest.hexdigest()


def _of(given: Any) -> dict[str, Any]:
    array = given.data if isinstance(given, Tensor) else given
    array = np.asarray(array) if array_module(array) in (None, np) else array
    row = max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)
    rows = max(1, WHOLE // row)
    if rows < len(array):
        places = np.linspace(0, len(array) - 1, rows).astype(np.int64)
        sample = array[array_module(array).asarray(places)]
    else:
        rows, sample = len(array), array
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.newbyteorder("=").name,
        "rows": rows,
        "sha256": of_arrays([sample]),
    }

"""Features on the scale that a network trains on, and which scale that is.

The one formula, (x - shift) / scale, for the rows that are trained on and for all that come later.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # of NumPy, or of another module like it
Float64: TypeAlias = NDArray[np.float64]

_BLOCK = 1 << 20  # elements that are scaled at a time


def rescale(x: Array, shift: float | Float64, scale: float | Float64, xp: Any = np) -> Array:
    """(x - shift) / scale in float32, inf beyond its range.

    x: (n, features) of any numbers, an array of the module `xp`. shift, scale: floats, or float64
    arrays (features,).
    """
    if x.dtype == np.uint8 and isinstance(shift, float) and isinstance(scale, float):
        # The same float32 numbers as below, at an eighth of the memory: this is 60,000 images.
        return xp.divide(x - np.float32(shift), np.float32(scale), dtype=np.float32)
    if not isinstance(shift, float):
        shift, scale = xp.asarray(shift), xp.asarray(scale)
    scaled = xp.empty(x.shape, np.float32)
    rows = max(1, _BLOCK // max(1, math.prod(x.shape[1:])))
    with np.errstate(over="ignore", invalid="ignore"):
        # In float64, but never all of it at once: that may be eight times the file.
        for k in range(0, len(x), rows):
            scaled[k : k + rows] = (x[k : k + rows] - shift) / scale
    return scaled


def mean_and_std(x: NDArray[Any]) -> tuple[Float64, Float64]:
    """Each column's mean and (population) standard deviation; a constant one's value and 1."""
    mean = x.mean(axis=0, dtype=np.float64)
    std = x.std(axis=0, dtype=np.float64)
    # Not `std == 0`: rounding gives a column of 0.1 a tiny deviation from its own mean.
    constant = x.min(axis=0) == x.max(axis=0)
    return np.where(constant, x[0], mean), np.where(constant, 1.0, std)

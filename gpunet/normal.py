"""How much of a normal distribution lies below x: GELU's gate. NumPy has no erf of its own."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, Any]


def normal_cdf(x: Numbers) -> Numbers:
    """(1 + erf(x / sqrt(2))) / 2, to some units in the last place, on the left too. |x| < 1e6."""
    below = _tail(abs(x)) / 2
    return np.where(x < 0, below, 1 - below)


def _tail(x: Numbers) -> Numbers:
    """erfc(x / sqrt(2)) for x from 0.

    With z = x / sqrt(2) it is the integral of 2 z / pi e^-(z^2 + t^2) / (z^2 + t^2) over t from 0.
    Its sum at t = h / 2, 3 h / 2, ... is off by the poles at t = +-i z, as 2 / (1 + e^(2 pi z / h))
    tells, and by e^-(pi / h)^2 (Matta & Reichel 1971): h is chosen so that nothing of that is seen.
    """
    h, nodes = _nodes(x.dtype)
    z = x * math.sqrt(0.5)
    square = z * z
    total, term = np.zeros_like(z), np.empty_like(z)
    for node, weight in nodes:
        np.divide(weight, np.add(square, node, out=term), out=term)
        total = np.add(total, term, out=total)
    poles = 2 / (1 + np.exp(np.minimum(z, math.pi / h) * (2 * math.pi / h)))
    return total * z * np.exp(-square) + np.where(z < math.pi / h, poles, 0)


@cache
def _nodes(dtype: np.dtype[Any]) -> tuple[float, list[tuple[float, float]]]:
    """h, and of each t of the sum t^2 and its weight 2 h / pi e^-t^2."""
    digits = 1 - math.log(np.finfo(dtype).eps)
    h = math.pi / math.sqrt(digits)
    squares = [((k + 0.5) * h) ** 2 for k in range(math.ceil(math.sqrt(digits) / h))]
    return h, [(t, 2 * h / math.pi * math.exp(-t)) for t in squares]

"""Gradients by differences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module

__all__ = ["np", "numerical_gradient"]


def numerical_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """(f(x + h) - f(x - h)) / 2h for each element of x, which is changed in place meanwhile."""
    h, grad = 1e-4, array_module(x).zeros_like(x)
    for place in np.ndindex(x.shape):
        start = float(x[place])
        try:
            x[place] = start + h
            above = f(x)
            x[place] = start - h
            grad[place] = (above - f(x)) / (2 * h)
        finally:
            x[place] = start
    return grad

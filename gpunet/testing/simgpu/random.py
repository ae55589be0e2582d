"""The parts of `cupy.random` that start a model or shuffle data.

NumPy draws the numbers, so they are not those that CuPy draws from the same seed. What counts is
what may be captured: a `Generator` draws by kernels of its own, the module's functions by cuRAND.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import work
from .array import compute, ndarray

_legacy = np.random.RandomState()


class Generator:
    """`cupy.random.Generator`: may be captured, and draws new numbers at every replay."""

    def __init__(self, seed: Any = None) -> None:
        self._numpy = np.random.default_rng(seed)

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> ndarray:
        return compute("random", lambda: self._numpy.random(size, dtype), out=out)

    def uniform(
        self, low: float = 0.0, high: float = 1.0, size: Any = None, dtype: Any = np.float64
    ) -> ndarray:
        return compute(
            "uniform", lambda: np.asarray(self._numpy.uniform(low, high, size), dtype=dtype)
        )

    def standard_normal(
        self, size: Any = None, dtype: Any = np.float64, out: Any = None
    ) -> ndarray:
        return compute("standard_normal", lambda: self._numpy.standard_normal(size, dtype), out=out)

    def integers(
        self,
        low: int,
        high: int | None = None,
        size: Any = None,
        dtype: Any = np.int64,
        endpoint: bool = False,
    ) -> ndarray:
        return compute("integers", lambda: self._numpy.integers(low, high, size, dtype, endpoint))


def default_rng(seed: Any = None) -> Generator:
    """A generator with its own state."""
    return Generator(seed)


def seed(seed: Any = None) -> None:
    """Start the module's own sequence anew."""
    _legacy.seed(seed)


def _draw(name: str, function: Callable[[], Any], dtype: Any = float) -> ndarray:
    work.refuse_library_in_capture("cuRAND")
    value = np.asarray(function()).astype(dtype)
    return compute(name, lambda: value)


def rand(*size: int, dtype: Any = float) -> ndarray:
    return _draw("rand", lambda: _legacy.random_sample(size), dtype)


def randn(*size: int, dtype: Any = float) -> ndarray:
    return _draw("randn", lambda: _legacy.standard_normal(size), dtype)


def random(size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("random", lambda: _legacy.random_sample(size), dtype)


random_sample = random


def uniform(low: float = 0.0, high: float = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("uniform", lambda: _legacy.uniform(low, high, size), dtype)


def normal(loc: float = 0.0, scale: float = 1.0, size: Any = None, dtype: Any = float) -> ndarray:
    return _draw("normal", lambda: _legacy.normal(loc, scale, size), dtype)


def standard_normal(size: Any = None, dtype: Any = float) -> ndarray:
    return normal(size=size, dtype=dtype)


def randint(low: int, high: int | None = None, size: Any = None, dtype: Any = "l") -> ndarray:
    return _draw("randint", lambda: _legacy.randint(low, high, size), dtype)


def permutation(a: Any) -> ndarray:
    """A shuffled copy of an array, or of the numbers below `a`."""
    count = len(a) if isinstance(a, ndarray) else int(a)
    order = _draw("permutation", lambda: _legacy.permutation(count), np.int64)
    return a[order] if isinstance(a, ndarray) else order


def shuffle(a: ndarray) -> None:
    """Shuffle an array along its first axis, in place."""
    a[...] = permutation(a)

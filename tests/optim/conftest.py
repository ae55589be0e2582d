"""Helpers of the optimizer tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet.backend import to_host


@pytest.fixture
def cupy(sim: Any) -> Any:
    """The simulated GPU's CuPy, whatever --gpunet-device says: it runs the CUDA text on the CPU."""
    return sim


@pytest.fixture
def ulps() -> Callable[[Any, Any], int]:
    return ulps_apart


def ulps_apart(a: Any, b: Any) -> int:
    """The largest number of floating-point numbers between two arrays' elements; nan equals nan."""
    a, b = to_host(a), to_host(b)
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if np.array_equal(a, b, equal_nan=True):
        return 0
    assert np.array_equal(np.isnan(a), np.isnan(b)), "nan in one of the two only"
    steps = [_place_on_the_number_line(np.nan_to_num(x, nan=0.0, posinf=None)) for x in (a, b)]
    return max((abs(int(m) - int(n)) for m, n in zip(*steps, strict=True)), default=0)


def _place_on_the_number_line(x: Any) -> list[int]:
    """Integers that count through the floating-point numbers; 0 and -0 are the same."""
    bits = x.reshape(-1).view(f"i{x.dtype.itemsize}").astype(object)
    lowest = -(2 ** (8 * x.dtype.itemsize - 1))
    return [int(b) if b >= 0 else lowest - int(b) for b in bits]

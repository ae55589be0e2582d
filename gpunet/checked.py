"""What a setting of a layer or a loss may be: the value, or an error that names the setting."""

from __future__ import annotations

from typing import Any

import numpy as np


def floating_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {found or repr(dtype)}")
    return found


def share(value: Any, name: str) -> float:
    number = isinstance(value, (int, float, np.integer, np.floating))
    if not number or not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
    return float(value)


def size(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return int(value)

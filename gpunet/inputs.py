"""What an op makes of the arrays that it is given: of the dtype that it wants, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, common_module, need_numbers


def as_input(x: Array, like: Array, name: str) -> Array:
    """`x` as `name`, whose parameters are like `like`, takes it: of their dtype, on their device.

    TypeError for complex numbers, or none at all; DeviceError for another device.
    """
    if type(x) is not type(like):
        common_module([x, like], name)
    return as_dtype(x, like.dtype, name)


def floating(x: Array, name: str = "the input") -> Array:
    """`x`, integers and bools as float32. TypeError for complex numbers."""
    return x if x.dtype.kind == "f" else as_dtype(x, np.float32, name)


def as_dtype(x: Array, dtype: Any, name: str) -> Array:
    """`x` of `dtype`; it itself if it is. TypeError for complex numbers, or none at all."""
    if x.dtype == dtype:
        return x
    need_numbers(x, name)
    return x.astype(dtype)


def need_batch(x: Array, name: str) -> None:
    """ValueError for an array without a batch axis; name: of the op."""
    if x.ndim < 2:
        raise ValueError(
            f"{name} needs an array (..., batch, features), got shape {tuple(x.shape)}; "
            "a single sample is x[None]"
        )

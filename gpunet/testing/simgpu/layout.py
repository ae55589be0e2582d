"""What an array's memory looks like, whatever is in it: dtype, sizes, strides, order of axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

DTYPE_CHARACTERS = "?bhilqBHILQefdFD"


def get_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype; ValueError for one that CuPy has no type for, as object or str."""
    found: np.dtype = np.dtype(dtype)
    if found.char not in DTYPE_CHARACTERS:
        raise ValueError(f"Unsupported dtype {found}")
    return found


class Flags:
    """Memory layout, by attribute (`c_contiguous`) or by name (`["C_CONTIGUOUS"]`)."""

    def __init__(self, c_contiguous: bool, f_contiguous: bool, owndata: bool) -> None:
        self.c_contiguous = c_contiguous
        self.f_contiguous = f_contiguous
        self.owndata = owndata

    @property
    def fnc(self) -> bool:
        return self.f_contiguous and not self.c_contiguous

    @property
    def forc(self) -> bool:
        return self.f_contiguous or self.c_contiguous

    def __getitem__(self, name: str) -> bool:
        if name not in ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"):
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return bool(getattr(self, name.lower()))

    def __repr__(self) -> str:
        names = "C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"
        return "\n".join(f"  {name} : {self[name]}" for name in names)


def shape_tuple(shape: int | Sequence[int]) -> tuple[int, ...]:
    parts = shape if isinstance(shape, (tuple, list)) else (shape,)
    sizes = tuple(operator.index(size) for size in parts)
    if any(size < 0 for size in sizes):
        raise ValueError("Negative dimensions are not allowed")
    return sizes


def fortran_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for size in shape[:-1]:
        strides.append(strides[-1] * max(size, 1))
    return tuple(strides[: len(shape)])


def is_view_of(view: np.ndarray, parent: np.ndarray) -> bool:
    return view.size == 0 or bool(np.may_share_memory(view, parent))


def has_order(flags: Any, order: str) -> bool:
    held = {"K": True, "A": flags.forc, "C": flags.c_contiguous, "F": flags.f_contiguous}
    return bool(held[order.upper() if order else "K"])

"""Take the arrays out of a call's arguments, and put other things in their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .array import ndarray

_SLOT = object()
Rebuild = Callable[[Sequence[Any]], tuple[Any, Any]]


def split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[ndarray], Rebuild]:
    """The arrays among the arguments, and a function that makes `args, kwargs` with substitutes.

    The function holds no array, so a recorded launch may keep it. Raises TypeError for a NumPy
    array, which CuPy's functions refuse.
    """
    arrays: list[ndarray] = []
    template = _mapped((args, kwargs), _taking_out(arrays))

    def rebuild(substitutes: Sequence[Any]) -> tuple[Any, Any]:
        remaining = iter(substitutes)
        filled: tuple[Any, Any] = _mapped(
            template, lambda value: next(remaining) if value is _SLOT else value
        )
        return filled

    return arrays, rebuild


def _taking_out(arrays: list[ndarray]) -> Callable[[Any], Any]:
    def take_out(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
        if not isinstance(value, ndarray):
            return value
        arrays.append(value)
        return _SLOT

    return take_out


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) in (list, tuple):
        return type(value)([_mapped(element, change) for element in value])
    if type(value) is dict:
        return {key: _mapped(element, change) for key, element in value.items()}
    return change(value)

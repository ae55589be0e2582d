"""Layers without their initial values: what `load` makes of a description, before the file's arrays
fill it. Nothing is drawn, and no more memory is taken than the file has arrays for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet.backend import Array


class _Room:
    """What layers may still take: so many arrays, of so many numbers in all."""

    def __init__(self, arrays: int, numbers: int) -> None:
        self.arrays, self.numbers = arrays, numbers

    def take(self, shape: tuple[int, ...]) -> None:
        self.arrays -= 1
        self.numbers -= math.prod(shape)
        if self.arrays < 0 or self.numbers < 0:
            raise ValueError("the layers that it describes are larger than the arrays that it has")


_room: ContextVar[_Room | None] = ContextVar("gpunet_blank", default=None)


@contextmanager
def blank(arrays: int, numbers: int) -> Iterator[None]:
    """Inside it the layers that are made start with zeros: `arrays` of them at most, with `numbers`
    elements in all, else ValueError.
    """
    token = _room.set(_Room(arrays, numbers))
    try:
        yield
    finally:
        _room.reset(token)


def is_blank() -> bool:
    """Whether layers that are made now start without values of their own."""
    return _room.get() is not None


def start(shape: tuple[int, ...], dtype: Any, values: float | Callable[[], Array]) -> Array:
    """What an array of a layer starts with: a number everywhere, or what a function makes."""
    room = _room.get()
    if room is not None:
        room.take(shape)
        return np.zeros(shape, dtype)
    return values() if callable(values) else np.full(shape, values, dtype)

"""Things that only one caller at a time may use, such as buffers: lent, and given back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Pool(Generic[T]):
    """What `make()` makes, for callers in any thread.

    Each stream of a GPU has things of its own: what is given back may be worked on there for a
    while, and who takes it next comes behind.
    """

    PLACES = 16  # streams whose things are kept: those that were used first are forgotten first

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: dict[Hashable, list[T]] = {}

    @contextmanager
    def lent(self, xp: Any) -> Iterator[T]:
        """One that nobody else has; after an error it is not lent again.

        xp: the module, `numpy` or `cupy`, that works on it.
        """
        idle = self._here(xp)
        try:
            thing = idle.pop()  # one step, whatever other threads do
        except IndexError:
            thing = self._make()
        yield thing
        idle.append(thing)

    def _here(self, xp: Any) -> list[T]:
        here = None if xp is np else place(xp)
        found = self._idle.get(here)
        if found is None:
            for old in list(self._idle)[: 1 - self.PLACES]:
                self._idle.pop(old, None)
            found = self._idle.setdefault(here, [])
        return found


def place(cupy: Any) -> tuple[int, int, int]:
    """The current device and stream; the thread, where a stream's number means one of its own."""
    stream = cupy.cuda.get_current_stream().ptr
    own = threading.get_ident() if stream == cupy.cuda.Stream.ptds.ptr else 0
    return cupy.cuda.get_device_id(), stream, own

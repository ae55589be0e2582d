"""A step on the CPU as a list of calls of C functions, written down once and run without Python:
what a CUDA graph is on a GPU.

The calls are those that `on_numpy` makes, in its order, of NumPy's own products and functions and
of the compiled passes: the numbers are the same to the last bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.counters import FIELDS
from gpunet.optim.native import Pointer


class Hole:
    """Stands in a script for an array that is another one at each run."""

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.array: Array = None  # the last one


@cache
def _op(library: ctypes.CDLL, name: str) -> int:
    """The address of a function of slots."""
    return ctypes.c_uint64.in_dll(library, f"gpunet_op_{name}").value


class Script:
    """Calls, as `gpunet_run` (script.h) takes them.

    library: with the C functions by name, `gpunet_op_NAME`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._slots: list[int] = []
        self._held: list[Any] = []  # arrays whose addresses are there
        self._placed: Array = None

    def call(self, name: str, *arguments: Any, library: ctypes.CDLL | None = None) -> None:
        """Note a call: arrays, Holes, None for no array, whole numbers, and numbers of the script's
        dtype as floats.
        """
        self._slots += [_op(library or self._library, name), len(arguments)]
        for argument in arguments:
            if isinstance(argument, Hole):
                argument.slots.append(len(self._slots))
            self._slots.append(self._slot(argument))

    def _slot(self, argument: Any) -> int:
        if isinstance(argument, np.ndarray):
            self._held.append(argument)
            return int(argument.ctypes.data)
        if isinstance(argument, float):
            return int(np.float64(argument).view(np.int64))
        return 0 if argument is None or isinstance(argument, Hole) else int(argument)

    def end(self, counters: Array, passed: Sequence[int]) -> None:
        """All is noted. counters: int64 (8,), see `gpunet.counters`. passed: what a run adds to its
        four.
        """
        self._placed, self._counters = np.array(self._slots, np.int64), counters
        self._view = memoryview(self._placed)  # sets a number in a fraction of an array's time
        self._held += [counters, np.array(passed, np.int64)]
        size, ends = self._placed.nbytes, Pointer.from_buffer
        start = self._placed.ctypes.data
        places = (ctypes.c_void_p(start), ctypes.c_void_p(start + size))
        self._arguments = (*places, ends(counters), ends(self._held[-1]))
        self._run = self._library.gpunet_run
        self._run.restype = None

    def fill(self, hole: Hole, array: Array) -> None:
        """Before `run`: what the calls find there."""
        if hole.array is not array:
            hole.array, place = array, array.ctypes.data
            for slot in hole.slots:
                self._view[slot] = place

    def only(self, name: str) -> Script:
        """The calls of one function alone: for benchmarks."""
        found, at, wanted = copy(self), 0, _op(self._library, name)
        found._slots = []
        while at < len(self._placed):
            call = self._placed[at : at + 2 + self._placed[at + 1]].tolist()
            found._slots += call if call[0] == wanted else []
            at += len(call)
        found.end(self._counters, [0] * FIELDS)
        return found

    def run(self, steps: int) -> None:
        """All calls, so many times."""
        self._run(*self._arguments, ctypes.c_ssize_t(steps))

"""A function of arrays as CUDA graphs, a launch a call, for callers in any thread."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.graphs import CapturedStep, CaptureError, capture
from gpunet.pool import Pool


class Replayed:
    """`run` of CuPy arrays, by one launch from the second time on that their shapes come; as it is
    where a graph cannot hold it, and of NumPy arrays. What it returns is the caller's own.

    Whoever calls while another is at it, or on another stream, launches graphs of its own.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run, self._held, self._plain = run, Pool(lambda: _Graphs(run)), False

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew."""
        return type(self), (self._run,)

    def __call__(self, *arrays: Array) -> Any:
        xp = array_module(arrays[0])
        if xp is np or self._plain:
            return self._run(*arrays)
        try:
            with self._held.lent(xp) as graphs:
                return graphs(*arrays)
        except CaptureError:
            self._plain = True
            return self._run(*arrays)


class _Graphs:
    """Of one caller at a time: a graph for each of the shapes met, all forgotten where they become
    more than SHAPES.
    """

    SHAPES = 8

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run, self._shapes = run, set[Hashable]()
        self._step: CapturedStep = capture(run)

    def __call__(self, *arrays: Array) -> Any:
        shape = tuple((a.shape, a.dtype.str) for a in arrays)
        if shape not in self._shapes and len(self._shapes) == self.SHAPES:
            self._shapes, self._step = set(), capture(self._run)
        self._shapes.add(shape)
        return self._step(*arrays)

"""The scalar table: rows of hyper-parameters for the coming steps, in the kernels' dtype.

Computed on the host in float64 by pure functions of t and sent to the device many rows at a time,
so that a step uploads nothing and a GPU uses the very numbers that NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import TABLE_ROWS as ROWS


class ScalarTable:
    """One table for one segment: `row(t, ...)` is the row of update t."""

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.xp, self.dtype = xp, np.dtype(dtype)
        self._first = 0
        self._settings: Any = None
        self._rows: list[Any] = []

    def row(
        self, t: int, settings: Any, compute: Callable[[int], list[float]], steady: bool = False
    ) -> Any:
        """Row t: a device array (width,), or on the CPU a tuple of NumPy scalars.

        settings: (settings, ...): whatever `compute` depends on besides t; when they change, rows
        are made anew. steady: all rows are equal.
        """
        inside = self._first <= t < self._first + len(self._rows)
        if not inside or settings != self._settings:
            self._fill(t, settings, compute, steady)
        return self._rows[t - self._first]

    def _fill(
        self, t: int, settings: Any, compute: Callable[[int], list[float]], steady: bool
    ) -> None:
        rows = [compute(t)]
        # Settings that just changed may change again before the next step.
        if settings == self._settings and not steady:
            rows += _ahead(compute, range(t + 1, t + ROWS))
        host = np.array(rows, np.float64).astype(self.dtype)
        self._rows = [tuple(r) for r in host] if self.xp is np else list(self.xp.asarray(host))
        if steady:
            self._rows *= ROWS
        self._first, self._settings = t, (dict(settings[0]), *settings[1:])


class Ring:
    """The rows of the coming updates on the device, for a step that is replayed.

    The row of the update at clock c lies at c % ROWS, so that it is found by the device's own
    count. `array` stays where it is.
    """

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.xp, self.dtype = xp, np.dtype(dtype)
        self.array: Array = None
        self._key: Any = None  # settings, and by how much t is ahead of the clock
        self._until = 0

    def prepare(
        self, at: int, t: int, steps: int, settings: Any, compute: Callable[[int], list[float]]
    ) -> None:
        """See that rows t, t + 1, ... of `steps` updates are there, the first at clock `at`."""
        key = (settings, t - at)
        if key == self._key and at + steps <= self._until:
            return
        rows = [compute(k) for k in range(t, t + steps)]
        rows += _ahead(compute, range(t + steps, t + ROWS))
        host = np.zeros((ROWS, len(rows[0])), self.dtype)
        host[(at + np.arange(len(rows))) % ROWS] = np.array(rows, np.float64)
        if self.array is None:
            self.array = self.xp.zeros(host.shape, self.dtype)
        self.array.set(host)
        self._key, self._until = key, at + len(rows)


def _ahead(compute: Callable[[int], list[float]], steps: range) -> list[list[float]]:
    """Rows for `steps`, as far as the schedule goes: one that ends must not fail before its end."""
    rows = []
    for t in steps:
        try:
            rows.append(compute(t))
        except Exception:
            break
    return rows

"""The scalars of the coming updates in the kernels' dtype, one row an update.

Computed on the host in float64 by pure functions of t and sent to the device many rows at a time,
so that a step uploads nothing and a GPU uses the very numbers that NumPy does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array

ROWS = 256  # in a table: a power of two
Row = tuple[Any, ...]  # NumPy numbers; on a GPU the table and the row's place in it
Given = tuple[Any, ...]


class Rows:
    """The rows of one part. They lie in one `table`, which stays where it is: that of update t at
    (t + shift) % ROWS, where a captured step's own count of updates finds it. On the CPU there is a
    table for such steps only.
    """

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.xp, self.dtype = xp, np.dtype(dtype)
        self.table: Array = None
        self._sent: Array = None
        self._rows: list[Row] = []
        self._first, self._end = 0, 0.0  # those of updates first, first + 1, ... end - 1 are there
        self._shift: int | None = 0  # None: there is no table
        self._given: Given = ()

    def __getitem__(self, t: int) -> Row:
        """The row of update t, which is there."""
        if self.xp is np:
            return self._rows[min(t - self._first, len(self._rows) - 1)]
        return self.table, (t + (self._shift or 0)) % ROWS

    def hold(self, t: int, steps: int, given: Given, shift: int | None = None) -> bool:
        """Whether the rows of `steps` updates from t on are there, made for `given`."""
        return (
            given == self._given
            and self._first <= t
            and t + steps <= self._end
            and shift in (None, self._shift)
        )

    def fill(
        self,
        t: int,
        steps: int,
        given: Given,
        compute: Callable[[int], list[float]],
        *,
        steady: bool = False,
        shift: int | None = None,
    ) -> None:
        """Make them, `compute(t)` being that of update t.

        given: (settings, ...), whatever `compute` depends on besides t. steady: all rows are equal.
        shift: see above; None leaves it.
        """
        rows = [compute(k) for k in range(t, t + (1 if steady else steps))]
        # Settings that just changed may change again before the next step.
        if not steady and (given == self._given or steps > 1):
            rows += _ahead(compute, range(t + steps, t + ROWS))
        self._shift = self._shift if shift is None and self.xp is not np else shift
        self._place(t, np.array(rows, np.float64).astype(self.dtype), steady)
        self._first, self._end = t, math.inf if steady else t + len(rows)
        self._given = (dict(given[0]), *given[1:])

    def _place(self, t: int, host: Array, steady: bool) -> None:
        if self.xp is np:
            self._rows = [tuple(row) for row in host]
            if self._shift is None:
                return
        table = np.zeros((ROWS, host.shape[1]), self.dtype)
        places = (t + (self._shift or 0) + np.arange(len(host))) % ROWS
        table[slice(None) if steady else places] = host
        if self.table is None:
            self.table = self.xp.zeros(table.shape, self.dtype)
        self._sent = table  # kept: a copy to the device may read it later
        if self.xp is np:
            self.table[...] = table
        else:
            self.table.set(table)


def _ahead(compute: Callable[[int], list[float]], steps: range) -> list[list[float]]:
    """Rows for `steps`, as far as the schedule goes: one that ends must not fail before its end."""
    rows = []
    for t in steps:
        try:
            rows.append(compute(t))
        except Exception:
            break
    return rows

"""Looks whether the numbers of each model are finite, and takes back those that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpunet.backend import Array
from gpunet.ensemble.copies import Copies
from gpunet.ensemble.stack import Stack
from gpunet.train.finite import Question

Fail = Callable[[int, int], None]


class Looks:
    """What a `Guard` does, for all models of a stack. On a GPU it asks, and hears the answer when
    it looks again, so that nothing waits; until then there are two copies, of before and of after
    the updates in question.

    Args:
        fail: of a model that is not finite, its number in the stack, and how many updates of the
            epoch it had made when it was good last: it is at that state again.
    """

    def __init__(self, stack: Stack, fail: Fail) -> None:
        self.stack, self.fail = stack, fail
        self._good, self._start = Copies(stack), 0
        self._later: Copies | None = None  # of when it was asked, `_asked` updates into the epoch
        self._asked = 0
        self._question = None if stack.xp is np else Question(stack.xp, len(stack.models))

    def begin(self) -> None:
        """An epoch begins, and all are good."""
        self._start = 0

    def look(self, losses: Array, done: int, wait: bool) -> None:
        """Look at all numbers. On a GPU, without `wait`, `fail` is perhaps told the next time.

        losses: (models, updates), of the epoch. done: how many they are.
        """
        if self._asked and self._question and self._later:
            self._conclude(self._question.answer())
            self._good, self._later = self._later, self._good
            self._start, self._asked = self._asked, 0
        statistics = self.stack.statistics()
        arrays = [losses[:, self._start : done], self.stack.arrays["param"], *statistics]
        if self._question:
            self._question.ask(arrays)
        if self._question and not wait:
            self._later = self._later or Copies(self.stack)
            self._later.take()
            self._asked = done
            return
        self._conclude(self._question.answer() if self._question else _finite(arrays))
        self._good.take()
        self._start = done

    def _conclude(self, fine: Array) -> None:
        for k in list(self.stack.here):
            if not fine[k]:
                self._good.restore(k)
                self.fail(k, self._start)


def _finite(arrays: Sequence[Array]) -> Array:
    """Of each row of all: whether it is finite."""
    found: Array = np.all([np.isfinite(array).all(axis=1) for array in arrays], axis=0)
    return found

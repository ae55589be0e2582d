"""gpunet.where: the first bad element, counted in the whole array, and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import where


@pytest.mark.parametrize(
    ("shape", "bad", "words"),
    [((5,), (3,), "row 3"), ((4, 3), (2, 1), "row 2, column 1"), ((2, 2, 2), (1, 0, 1), None)],
    ids=str,
)
def test_first(xp: Any, shape: Any, bad: Any, words: str | None) -> None:
    array = np.zeros(shape, np.float32)
    assert where.not_finite(xp.asarray(array)) is None
    assert where.all_finite([xp.asarray(array)])
    array[bad] = np.inf
    array[-1] = np.nan  # later than the first, or beside it
    place = where.not_finite(xp.asarray(array))
    assert place is not None
    assert place == tuple(np.argwhere(~np.isfinite(array))[0])
    assert where.not_finite(xp.asarray(array), start=10) == (10 + place[0], *place[1:])
    assert not where.all_finite([xp.zeros(3), xp.asarray(array)])
    if words is not None:
        assert where.words(bad) == words


def test_whole_numbers_are_finite(xp: Any) -> None:
    assert where.not_finite(xp.arange(3)) is None
    assert where.all_finite([xp.arange(3)])

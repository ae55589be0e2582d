"""Shuffling that gives the same order on every platform and with every version of NumPy."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

_WORD = 2**64
# Half of the generator's key. It keeps these numbers apart from any others (dropout masks, initial
# weights) that are drawn from the same generator with the same seed.
_PURPOSE = int.from_bytes(b"shuffle.", "big")


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high). Raises TypeError or ValueError, naming the argument."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < low or (high is not None and number >= high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high - 1}"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    return number


def permutation(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """A seeded permutation of 0..n-1, a new one for each epoch: int64, shape (n,).

    Row i gets the i-th 64-bit word of Philox4x64-10 (Salmon et al., "Parallel random numbers: as
    easy as 1, 2, 3", SC 2011) with key (seed, a constant) and the block counter starting at
    (1, epoch, 0, 0); the rows are then sorted by their words. Only the generator's raw words are
    used: NumPy may change what its `Generator` makes of them, but not the words. The sort is
    stable, so that the order is fixed even if two words should be equal.

    Raises TypeError or ValueError where n < 0, or seed or epoch is not in 0..2**64-1.
    """
    n = integer("n", n, 0)
    seed = integer("seed", seed, 0, _WORD)
    epoch = integer("epoch", epoch, 0, _WORD)
    generator = np.random.Philox(
        key=np.array([seed, _PURPOSE], dtype=np.uint64),
        counter=np.array([0, epoch, 0, 0], dtype=np.uint64),
    )
    return np.argsort(generator.random_raw(n), kind="stable").astype(np.int64, copy=False)

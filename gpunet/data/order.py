"""Shuffling that gives the same order on every platform and with every version of NumPy."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

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
    used: NumPy may change what its `Generator` makes of them, but not the words. Of two equal words
    that of the lower row comes first, so that the order is fixed even then.

    Raises TypeError or ValueError where n < 0, or seed or epoch is not in 0..2**64-1.
    """
    order: NDArray[np.int64] = permutations(n, [(seed, epoch)])[0]
    return order


def permutations(n: int, epochs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """`permutation(n, seed, epoch)` of each pair (seed, epoch): int64, shape (len(epochs), n)."""
    n = integer("n", n, 0)
    words = _words(n, epochs)
    order = np.argsort(words)  # several times as fast as a stable sort
    ranked = np.sort(words)
    if (ranked[:, 1:] == ranked[:, :-1]).any():
        order = np.argsort(words, kind="stable")
    return order.astype(np.int64, copy=False)


def _words(n: int, epochs: Sequence[tuple[int, int]]) -> NDArray[np.uint64]:
    generator = np.random.Philox(key=np.array([0, _PURPOSE], dtype=np.uint64))
    state: Any = generator.state  # of a generator that is there it is set in a tenth of the time
    words = np.empty((len(epochs), n), np.uint64)
    for own, (seed, epoch) in zip(words, epochs, strict=True):
        state["state"]["key"][0] = integer("seed", seed, 0, _WORD)
        state["state"]["counter"][1] = integer("epoch", epoch, 0, _WORD)
        generator.state = state
        own[...] = generator.random_raw(n)
    return words

"""Where initial weights and dropout seeds come from.

One NumPy generator per process; `seed` restarts it. Numbers are always drawn on the host, so a
model starts the same on every device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet.lock import RLock

_lock = RLock()
_generator: np.random.Generator | None = None  # made on first use: numpy.random loads slowly
_apart: ContextVar[np.random.Generator | None] = ContextVar("gpunet_apart", default=None)


def seed(value: int) -> None:
    """Restart the generator of initial weights and dropout seeds.

    ValueError unless `value` is an integer in [0, 2^64).
    """
    global _generator
    check_word(value, "seed")
    with _lock:
        _generator = from_seed(int(value))


def check_word(value: Any, name: str) -> int:
    """`value` as an int; ValueError unless it is an integer in [0, 2^64)."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**64:
        raise ValueError(f"{name} must be a whole number from 0 to 2^64 - 1, got {value!r}")
    return int(value)


def draw_seed() -> int:
    """A 63-bit seed from the common generator."""
    global _generator
    own = _apart.get()
    if own is not None:
        return int(own.integers(0, 2**63))
    with _lock:
        if _generator is None:
            _generator = from_seed(0)
        return int(_generator.integers(0, 2**63))


def state() -> dict[str, Any] | None:
    """Where the common generator stands, in plain numbers; None if it was not used yet."""
    with _lock:
        return None if _generator is None else _listed(_generator.bit_generator.state)


def restore(state: dict[str, Any] | None) -> None:
    """Go on from what `state` gave. ValueError, TypeError or KeyError for what it did not give."""
    global _generator
    generator = None
    if state is not None:
        generator = from_seed(0)
        generator.bit_generator.state = state
    with _lock:
        _generator = generator


def _listed(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


@contextmanager
def apart(value: int) -> Iterator[None]:
    """Inside it seeds are drawn from a generator of its own, and the common one stands still."""
    token = _apart.set(from_seed(value))
    try:
        yield
    finally:
        _apart.reset(token)


def from_seed(value: int) -> np.random.Generator:
    """A generator of its own: two threads never share one."""
    return np.random.Generator(np.random.Philox(value))


def kept(
    shape: tuple[int, ...], threshold: int, seed: int, step: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Dropout's mask over the last two axes of `shape`: True where an element is kept.

    An element is kept if its 16 bits, from Philox4x64-10 keyed by `seed` at `step`, reach
    `threshold`; kernels/philox.cuh draws the same.
    """
    key, counter = np.array([seed, 0], np.uint64), np.array([0, step, 0, 0], np.uint64)
    plane = shape[-2:]
    count = math.prod(plane)
    words = np.random.Philox(key=key, counter=counter).random_raw(-(-max(count, 1) // 4))
    bits = np.asarray(words).astype("<u8", copy=False).view("<u2")[:count].reshape(plane)
    mask: np.ndarray[Any, np.dtype[np.bool_]] = bits >= threshold
    return mask


def threshold(p: float) -> int:
    """How many of the 65,536 values dropout with probability p drops."""
    return round(p * 65536)


def keep_scale(p: float) -> float:
    """What dropout with probability p multiplies the kept elements with."""
    return 1 / (1 - p) if p < 1 else 0.0

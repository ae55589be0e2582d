"""Where initial weights and dropout seeds come from.

Each thread that calls `seed` has a NumPy generator of its own, as the main thread has; the others
share one. Numbers are always drawn on the host, so a model starts the same on every device.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet.lock import RLock


class _Own(threading.local):
    """The generator of a thread; None until it is used, or where the thread was never seeded."""

    generator: np.random.Generator | None = None


_own = _Own()
_lock = RLock()  # of what follows
_common: np.random.Generator | None = None  # of threads without one; numpy.random loads slowly
_apart: ContextVar[np.random.Generator | None] = ContextVar("gpunet_apart", default=None)


def seed(value: int) -> None:
    """Restart the generator of initial weights and dropout seeds for the thread that calls it: what
    other threads draw changes nothing here. Threads that were never seeded share a generator,
    which the main thread's seed restarts.

    ValueError unless `value` is an integer in [0, 2^64).
    """
    check_word(value, "seed")
    _own.generator = from_seed(int(value))
    if _is_main():
        _share(int(value))


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _share(value: int) -> np.random.Generator:
    """Restart the generator of threads without one: other numbers than the main thread's own."""
    global _common
    with _lock:
        key = np.random.SeedSequence(value, spawn_key=(1,))
        _common = np.random.Generator(np.random.Philox(key))
        return _common


def check_word(value: Any, name: str) -> int:
    """`value` as an int; ValueError unless it is an integer in [0, 2^64)."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**64:
        raise ValueError(f"{name} must be a whole number from 0 to 2^64 - 1, got {value!r}")
    return int(value)


def draw_seed() -> int:
    """A 63-bit seed from the thread's generator."""
    with _lock:
        generator = _apart.get() or _here()
        if generator is None:
            generator = _own.generator = from_seed(0)
        return int(generator.integers(0, 2**63))


def _here() -> np.random.Generator | None:
    """The thread's generator; None in the main thread before the first use."""
    if _own.generator is not None or _is_main():
        return _own.generator
    return _common or _share(0)


def state() -> dict[str, Any] | None:
    """Where the thread's generator stands, in plain numbers; None if it was not used yet."""
    with _lock:
        generator = _here()
        return None if generator is None else _listed(generator.bit_generator.state)


def restore(state: dict[str, Any] | None) -> None:
    """Go on in this thread from what `state` gave.

    ValueError, TypeError or KeyError for what it did not give.
    """
    generator = None
    if state is not None:
        generator = from_seed(0)
        generator.bit_generator.state = state
    _own.generator = generator


def _listed(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _listed(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


@contextmanager
def apart(value: int) -> Iterator[None]:
    """Inside it seeds are drawn from a generator of its own, and the thread's stands still."""
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


ALL = 65536  # values of 16 bits


def threshold(p: float) -> int:
    """How many of the 65,536 values dropout with probability p drops: all of them for 1 alone."""
    return ALL if p == 1 else min(round(p * ALL), ALL - 1)


def keep_scale(p: float) -> float:
    """What dropout with probability p multiplies the kept elements with: 1 / their real share, so
    that the mean stays what it is.
    """
    kept_values = ALL - threshold(p)
    return ALL / kept_values if kept_values else 0.0

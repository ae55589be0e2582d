"""Who looks on while layers run, and what they must leave as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Observer = Callable[[Any, Any], None]  # (layer, its output)
_observer: ContextVar[Observer | None] = ContextVar("gpunet_observer", default=None)


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Inside it `observer(layer, output)` sees the output of every layer that is called."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def observer() -> Observer | None:
    """Who is to see every layer's output, or None outside `observe`."""
    return _observer.get()


_frozen: ContextVar[bool] = ContextVar("gpunet_frozen", default=False)


@contextmanager
def frozen() -> Iterator[None]:
    """Inside it no layer changes its own state: BatchNorm keeps its running statistics, Dropout
    draws the mask of its next training call again and again. For gradient checks.
    """
    token = _frozen.set(True)
    try:
        yield
    finally:
        _frozen.reset(token)


def is_frozen() -> bool:
    """True inside `frozen`."""
    return _frozen.get()

"""What a setting of a layer, a loss or a trainer may be, asked whenever it is set.

    class Dropout(Layer):
        p = Checked(fraction)

`layer.p = 2` then raises what `Dropout(2)` raises, so that nothing that reads `p` has to ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Checked(Generic[T]):
    """A setting that is `check(value, name)` of what it is set to."""

    def __init__(self, check: Callable[[Any, str], T]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = self._check(value, self._name)

    if TYPE_CHECKING:  # Reading needs no help: the value lies in the instance, under its name.

        def __get__(self, instance: object, owner: type | None = None) -> T: ...


def _number(words: str, allowed: Callable[[Any], bool]) -> Callable[[Any, str], float]:
    def check(value: Any, name: str) -> float:
        numeric = isinstance(value, (int, float, np.integer, np.floating))
        if not numeric or not allowed(value):
            raise ValueError(f"{name} must {words}, got {value!r}")
        return float(value)

    return check


finite = _number("be a finite number", lambda v: abs(v) < np.inf)
positive = _number("be above 0 and finite", lambda v: 0 < v < np.inf)
not_negative = _number("be at least 0 and finite", lambda v: 0 <= v < np.inf)
fraction = _number("lie in [0, 1]", lambda v: 0 <= v <= 1)
below_one = _number("lie in [0, 1)", lambda v: 0 <= v < 1)


def size(value: Any, name: str) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return int(value)


def floating_dtype(value: Any, name: str = "dtype") -> np.dtype[Any]:
    """float32 or float64, by any of their names."""
    try:
        found: np.dtype[Any] | None = None if value is None else np.dtype(value)
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise ValueError(f"{name} must be float32 or float64, got {found or repr(value)}")
    return found


def one_of(*choices: Any) -> Callable[[Any, str], Any]:
    """One of `choices`, True and False among them if they are meant."""

    def check(value: Any, name: str) -> Any:
        if not any(value is choice or value == choice for choice in choices):
            raise ValueError(f"{name} must be {_listed(choices)}, got {value!r}")
        return value

    return check


def _listed(choices: tuple[Any, ...]) -> str:
    *most, last = [f'"{c}"' if isinstance(c, str) else repr(c) for c in choices]
    return f"{', '.join(most)} or {last}" if most else last

"""What a setting may be: one rule per name, for every optimizer and every device.

A setting of another name may be any finite number, or two, or True or False, as its default is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Rule = tuple[str, Callable[[float], bool]]

NOT_NEGATIVE: Rule = ("at least 0", lambda v: v >= 0)
POSITIVE: Rule = ("greater than 0", lambda v: v > 0)
FRACTION: Rule = ("in [0, 1)", lambda v: 0 <= v < 1)
ANY: Rule = ("that is finite", lambda v: True)

RULES: dict[str, Rule] = {
    "lr": NOT_NEGATIVE,
    "momentum": ("in [0, 1]", lambda v: 0 <= v <= 1),  # 1: nothing of a velocity is lost
    "rho": FRACTION,
    "betas": FRACTION,
    "eps": NOT_NEGATIVE,
    "eps_root": NOT_NEGATIVE,
    "eps_hat": NOT_NEGATIVE,
    "eps_denominator": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "initial_accumulator": NOT_NEGATIVE,
    "momentum_decay": NOT_NEGATIVE,
    "alpha": POSITIVE,
    "etas": POSITIVE,
    "step_sizes": POSITIVE,
    "clip_norm": POSITIVE,
    "clip_value": POSITIVE,
}
OPTIONAL = {"clip_norm", "clip_value"}  # may be None
FLAG_TOO = {"eps_hat"}  # a number, or True or False


def number(name: str, value: Any) -> float:
    """`value` as a float if it is allowed for `name`; ValueError naming the argument if not."""
    words, allowed = RULES.get(name, ANY)
    try:
        no_number = isinstance(value, (str, bytes, bool)) or getattr(value, "ndim", 0) != 0
        found = math.nan if no_number else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or not allowed(found):
        raise ValueError(f"{name} must be a number {words}, got {value!r}")
    return found


def checked(name: str, value: Any, like: Any = None) -> Any:
    """A checked value: number, pair of numbers, flag, None where optional, or a schedule for lr.

    like: a value that is allowed, such as the default.
    """
    if isinstance(value, bool) and (isinstance(like, bool) or name in FLAG_TOO):
        return value
    if value is None and name in OPTIONAL:
        return None
    if name == "lr" and callable(value):
        return value
    if isinstance(like, tuple):
        return _pair(name, value)
    if isinstance(like, bool) and name not in FLAG_TOO:
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return number(name, value)


def resolve(lr: Any, t: int) -> float:
    """The learning rate after t updates; ValueError if a schedule gives a bad one."""
    if not callable(lr):
        return number("lr", lr)
    try:
        return number("lr", lr(t))
    except ValueError as error:
        raise ValueError(f"the schedule's {error} at t = {t}") from None


class Settings(dict[str, Any]):
    """The settings of an optimizer or a group by name; `settings["lr"] = x` is checked.

    TypeError for a name that is not there, ValueError for a value that is not allowed.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self:
            raise TypeError(f"there is no setting {name!r}; there is {', '.join(self)}")
        super().__setitem__(name, checked(name, value, self[name]))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def _pair(name: str, value: Any) -> tuple[float, float]:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers, got {value!r}") from None
    low, high = number(name, first), number(name, second)
    if name == "etas" and not low < 1 < high:
        raise ValueError(f"etas must be (below 1, above 1), got {value!r}")
    if name == "step_sizes" and low > high:
        raise ValueError(f"step_sizes must be (smallest, largest), got {value!r}")
    return low, high

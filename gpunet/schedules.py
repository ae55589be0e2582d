"""Learning rates as pure functions of t, the number of updates made before this one: 0, 1, 2, ...

Any function t -> lr works wherever an optimizer takes `lr`; these are the usual ones. They nest:
`warmup(cosine(0.1, 1000), 100)`; they can be copied and pickled, and two with the same numbers are
equal.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Schedule = Callable[[int], float]
Rate = float | Schedule  # what an optimizer takes for lr


@dataclass(frozen=True)
class Formula:
    """A formula of this file with its numbers, t left open. (A closure could not be pickled.)"""

    formula: Callable[..., float]
    numbers: tuple[Any, ...]

    def __call__(self, t: int) -> float:
        return self.formula(*self.numbers, t)

    @property
    def name(self) -> str:
        """That of the function which made it."""
        return self.formula.__name__.strip("_")

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.numbers))})"


def _positive(value: float, name: str) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")


def constant(lr: float) -> Schedule:
    """lr, always."""
    return Formula(_constant, (lr,))


def _constant(lr: float, t: int) -> float:
    return lr


def step(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^(t // every)."""
    _positive(every, "every")
    return Formula(_step, (lr, every, factor))


def _step(lr: float, every: int, factor: float, t: int) -> float:
    return lr * factor ** (t // every)


def exponential(lr: float, rate: float) -> Schedule:
    """lr * rate^t; rate just below 1."""
    _positive(rate, "rate")
    return Formula(_exponential, (lr, rate))


def _exponential(lr: float, rate: float, t: int) -> float:
    return lr * rate**t


def inverse_time(lr: float, decay: float) -> Schedule:
    """lr / (1 + decay t): the 1/t rule of Robbins & Monro (1951)."""
    if not decay >= 0:
        raise ValueError(f"decay must be at least 0, got {decay}")
    return Formula(_inverse_time, (lr, decay))


def _inverse_time(lr: float, decay: float, t: int) -> float:
    return lr / (1 + decay * t)


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """From lr to `final` along half a cosine in `steps` updates (Loshchilov & Hutter 2017, eq. 5),
    then `final`.
    """
    _positive(steps, "steps")
    return Formula(_cosine, (lr, steps, final))


def _cosine(lr: float, steps: int, final: float, t: int) -> float:
    return final + (lr - final) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2


def warmup(after: Schedule | float, steps: int) -> Schedule:
    """A straight rise to `after` in `steps` updates, the first at 1/steps of it (Goyal et al.
    2017, section 2.2); `after` then starts from its own t = 0.
    """
    _positive(steps, "steps")
    return Formula(_warmup, (after if callable(after) else constant(after), steps))


def _warmup(after: Schedule, steps: int, t: int) -> float:
    return after(0) * (t + 1) / steps if t < steps else after(t - steps)


def piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """values[k] from boundaries[k - 1] on, values[0] before boundaries[0].

    ValueError unless there is one value more than boundaries, and these rise.
    """
    edges, levels = tuple(boundaries), tuple(values)
    if len(levels) != len(edges) + 1:
        raise ValueError(f"{len(edges)} boundaries need {len(edges) + 1} values, got {len(levels)}")
    if list(edges) != sorted(set(edges)):
        raise ValueError(f"boundaries must rise, got {list(edges)}")
    return Formula(_piecewise, (edges, levels))


def _piecewise(edges: tuple[int, ...], levels: tuple[float, ...], t: int) -> float:
    return levels[bisect.bisect_right(edges, t)]

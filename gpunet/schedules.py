"""Learning rates as pure functions of t, the number of updates made before this one: 0, 1, 2, ...

Any function t -> lr works wherever an optimizer takes `lr`; these are the usual ones. Each returns
a plain function, so that they nest: `warmup(cosine(0.1, 1000), 100)`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]
Rate = float | Schedule  # what an optimizer takes for lr


def _positive(value: float, name: str) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be greater than 0, got {value}")


def constant(lr: float) -> Schedule:
    """lr, always."""
    return lambda t: lr


def step(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^(t // every)."""
    _positive(every, "every")
    return lambda t: lr * factor ** (t // every)


def exponential(lr: float, rate: float) -> Schedule:
    """lr * rate^t; rate just below 1."""
    _positive(rate, "rate")
    return lambda t: lr * rate**t


def inverse_time(lr: float, decay: float) -> Schedule:
    """lr / (1 + decay t): the 1/t rule of Robbins & Monro (1951)."""
    if not decay >= 0:
        raise ValueError(f"decay must be at least 0, got {decay}")
    return lambda t: lr / (1 + decay * t)


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """From lr to `final` along half a cosine in `steps` updates (Loshchilov & Hutter 2017, eq. 5),
    then `final`.
    """
    _positive(steps, "steps")

    def schedule(t: int) -> float:
        return final + (lr - final) * (1 + math.cos(math.pi * min(t, steps) / steps)) / 2

    return schedule


def warmup(after: Schedule | float, steps: int) -> Schedule:
    """A straight rise to `after` in `steps` updates, the first at 1/steps of it (Goyal et al.
    2017, section 2.2); `after` then starts from its own t = 0.
    """
    _positive(steps, "steps")
    rest = after if callable(after) else constant(after)
    return lambda t: rest(0) * (t + 1) / steps if t < steps else rest(t - steps)


def piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Schedule:
    """values[k] from boundaries[k - 1] on, values[0] before boundaries[0].

    ValueError unless there is one value more than boundaries, and these rise.
    """
    edges, levels = list(boundaries), list(values)
    if len(levels) != len(edges) + 1:
        raise ValueError(f"{len(edges)} boundaries need {len(edges) + 1} values, got {len(levels)}")
    if edges != sorted(set(edges)):
        raise ValueError(f"boundaries must rise, got {edges}")
    return lambda t: levels[bisect.bisect_right(edges, t)]

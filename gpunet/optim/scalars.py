"""From the settings to the numbers that a kernel gets for update t = 1, 2, ..., in float64."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from gpunet.optim.check import number, resolve
from gpunet.optim.kernel import LIMITS, UpdateKernel

Derived = Callable[..., Mapping[str, float]]
OF_T = {"t", "correction1", "correction2"}  # what changes from update to update
GIVEN = {*OF_T, "beta1", "beta2"}  # what `derived` may name besides the settings


def known_at(t: int, settings: Mapping[str, Any], derived: Derived) -> dict[str, Any]:
    """The settings and what follows from them, all by name: where there are `betas`, beta1, beta2
    and correction1, correction2 = 1 - beta^t; then what `derived` makes of those that it names.
    """
    known = {**settings, "t": t}
    if "betas" in known:
        known["beta1"], known["beta2"] = known["betas"]
        known["correction1"] = 1 - known["beta1"] ** t
        known["correction2"] = 1 - known["beta2"] ** t
    known.update(derived(**{name: known[name] for name in names_of(derived)}))
    return known


def row_at(
    settings: Mapping[str, Any], derived: Derived, kernel: UpdateKernel, dtype: Any
) -> Callable[[int], list[Any]]:
    """A function of t that gives the numbers of update t for arrays of `dtype`, in the order of
    `kernel.row_names`.

    lr may be a list, of those that agree in all else: what comes from it is then an array.
    """
    now, names, lr = dict(settings), kernel.row_names, settings.get("lr")
    for limit in LIMITS:
        now[limit] = math.inf if now[limit] is None else now[limit]
    if "betas" in now:  # 1 - beta^t must be that of the beta that the kernel gets
        now["betas"] = [number("betas", dtype.type(beta)) for beta in now["betas"]]
    changes = any(map(callable, lr)) if isinstance(lr, list) else callable(lr)
    if "lr" in now and not changes:
        now["lr"] = _rate(lr, 0)

    def compute(t: int) -> list[Any]:
        if changes:
            now["lr"] = _rate(lr, t - 1)
        known = known_at(t, now, derived)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"{kernel.source.label}: nothing gives the scalar {unknown[0]!r}; make it a "
                "setting, or let derived(...) return it"
            )
        return [known[name] for name in names]

    return compute


def row(
    t: int, settings: Mapping[str, Any], derived: Derived, kernel: UpdateKernel, dtype: Any
) -> list[float]:
    """The numbers of update t alone; see `row_at`."""
    return row_at(settings, derived, kernel, dtype)(t)


def _rate(lr: Any, t: int) -> Any:
    """The learning rate after t updates, or those of a list."""
    return np.array([resolve(one, t) for one in lr]) if isinstance(lr, list) else resolve(lr, t)


def is_steady(settings: Mapping[str, Any], derived: Derived, kernel: UpdateKernel) -> bool:
    """True if every update has the same row."""
    names = {*kernel.row_names, *names_of(derived)}
    lr = settings.get("lr")
    return not OF_T & names and not any(map(callable, lr if isinstance(lr, list) else [lr]))


@cache
def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of its parameters."""
    return tuple(inspect.signature(function).parameters)

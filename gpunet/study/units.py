"""What units do to an optimizer: a weight measured in another unit, a loss in another.

A loss L(x) of a weight x, and the same one of z = x / 1000, L(1000 z): gradients by z are 1000
times as large, weights a thousandth. An optimizer that minds its units walks the same path.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.parameter import Parameter
from gpunet.study.tables import Table

Path = np.ndarray[Any, Any]
STEPS = 200
UNIT = 1000.0
SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"lr": 0.1},
    "adagrad": {"lr": 0.3, "eps": 1e-10},
    "rmsprop": {"lr": 0.02, "eps": 1e-8},
    "adadelta": {"lr": 1.0, "eps": 1e-4},
    "adam": {"lr": 0.05, "eps": 1e-8},
}


def walk(name: str, unit: float, scale: float, settings: dict[str, float]) -> Path:
    """x over the steps (STEPS + 1,), on scale * (x - 1)² / 2 from x = 0, of a weight x / unit."""
    weight = Parameter(np.zeros(1))
    one = OPTIMIZERS[name]([weight], **settings)
    x = [0.0]
    for _ in range(STEPS):
        weight.grad = np.array([scale * unit * (x[-1] - 1)])
        one.step()
        x.append(unit * weight.data.item())
    return np.array(x)


def units() -> list[Table]:
    """Three tables: another unit of the weight, of the loss, and AdaDelta with a rate."""
    return [_weight(), _loss(), _given_a_rate()]


def _weight() -> Table:
    rows = []
    for name, settings in SETTINGS.items():
        plain = walk(name, 1.0, 1.0, settings)
        eps = _eps(settings, _of_the_weight(name))
        same = walk(name, UNIT, 1.0, settings | eps)
        needed = _needed(name)
        other = walk(name, UNIT, 1.0, settings | eps | {"lr": settings["lr"] * needed})
        label = OPTIMIZERS[name].__name__
        rows.append((label, _apart(plain, same), f"{needed:g}", _apart(plain, other)))
    return Table(
        f"The weight in another unit, x = {UNIT:g} z: how far the paths of x are apart in {STEPS} "
        "steps from 0 to 1",
        ("", "same rate", "rate times", "then apart"),
        rows,
        "AdaDelta's step has the unit of the weight, and so has its eps in delta_avg + eps; the "
        "others need a rate a thousandth of it, SGD a millionth.",
        digits=2,
    )


def _loss() -> Table:
    rows = []
    for name, settings in SETTINGS.items():
        plain = walk(name, 1.0, 1.0, settings)
        same = walk(name, 1.0, UNIT, settings)
        eps = {} if name == "adadelta" else _eps(settings, UNIT)
        scaled = walk(name, 1.0, UNIT, settings | eps)
        rows.append((OPTIMIZERS[name].__name__, _apart(plain, same), _apart(plain, scaled)))
    return Table(
        f"The loss {UNIT:g} times as large: how far the paths are apart",
        ("", "same eps", "eps in the new unit"),
        rows,
        "None of the four that adapt minds, but for eps; SGD diverges. (AdaDelta's eps stands "
        "beside steps, which have no part in the loss's unit: it stays.)",
        digits=2,
    )


def _given_a_rate() -> Table:
    """AdaDelta, whose rate is 1 in the paper."""
    rows = []
    for lr in (0.1, 1.0, 10.0, 100.0):
        path = walk("adadelta", 1.0, 1.0, SETTINGS["adadelta"] | {"lr": lr})
        late = np.abs(path[-50:] - 1)
        first = np.flatnonzero(np.abs(path - 1) < 0.1)
        rows.append((f"{lr:g}", path[1], int(first[0]) if first.size else "never", late.max()))
    return Table(
        "AdaDelta with a rate, on (x - 1)²/2 from 0",
        ("lr", "first step", "steps to within 0.1", "farthest in the last 50"),
        rows,
        "delta_avg does not see the rate: it multiplies steps, as with the others, and too large a "
        "one swings.",
    )


def _of_the_weight(name: str) -> float:
    """What eps is multiplied by for z: it stands beside gradients, in AdaDelta beside steps too."""
    return UNIT**-2 if name == "adadelta" else UNIT


def _needed(name: str) -> float:
    return {"sgd": UNIT**-2, "adadelta": 1.0}.get(name, 1 / UNIT)


def _eps(settings: dict[str, float], factor: float) -> dict[str, float]:
    return {"eps": settings["eps"] * factor} if "eps" in settings else {}


def _apart(one: Path, other: Path) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(np.abs(one - other).max())
    return found if np.isfinite(found) else np.inf

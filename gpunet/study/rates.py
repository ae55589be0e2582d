"""Learning rates that make a picture worth looking at, for every landscape and optimizer.

Three numbers a landscape: what SGD multiplies the gradient by, what Momentum and Nesterov do, and
the pace of the others, whose steps have a length of their own, whatever the gradient: `PACES` says
by how much of the pace each of them is set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.study.landscapes import Landscape


class Rates(NamedTuple):
    plain: float
    velocity: float
    pace: float


# The bowl's are those of Saito's figures (Deep Learning from Scratch, section 6.1), sinc's plain
# one that of the source notes which ends in a swing between two points.
RATES: dict[str, Rates] = {
    "bowl": Rates(plain=0.95, velocity=0.1, pace=0.3),
    "wells": Rates(plain=0.02, velocity=0.02, pace=0.1),
    "inflection": Rates(plain=0.05, velocity=0.05, pace=0.1),
    "saddle": Rates(plain=0.1, velocity=0.02, pace=0.05),
    "bounded-saddle": Rates(plain=0.1, velocity=0.02, pace=0.05),
    "plateau": Rates(plain=0.5, velocity=0.5, pace=0.1),
    "beale": Rates(plain=0.01, velocity=0.005, pace=0.05),
    "rosenbrock": Rates(plain=0.001, velocity=0.0005, pace=0.1),
    "rastrigin": Rates(plain=0.002, velocity=0.004, pace=0.3),
    "abs": Rates(plain=0.2, velocity=0.02, pace=0.1),
    "abs10": Rates(plain=0.3, velocity=0.05, pace=0.5),
    "sinc": Rates(plain=1.1, velocity=0.1, pace=0.2),
}

PACES: dict[str, float] = {
    "adagrad": 5.0,  # its steps shrink as 1 / sqrt(t)
    "rmsprop": 0.3,  # its first step is 1 / sqrt(1 - rho) = 10 times lr
    "rprop": 0.3,  # of the first step alone; then each variable's grows by itself
    "adadelta": 100.0,  # its first step is sqrt(eps / (1 - rho)) = a 300th of lr
    "lion": 0.3,  # every step has the full length
}


def default_lr(landscape: Landscape, optimizer: str) -> float | None:
    """The learning rate for a picture of `optimizer` (its name) on `landscape`; None if it has no
    learning rate.

    A landscape of your own gets a 40th of its window's width for a pace, and a plain rate that
    makes SGD's first step as long.
    """
    rates = RATES.get(landscape.name) or _guess(landscape)
    if not OPTIMIZERS[optimizer].has_lr:
        return None
    if optimizer == "sgd":
        return rates.plain
    if optimizer in ("momentum", "nesterov"):
        return rates.velocity
    if optimizer == "radam":  # its first five steps are Momentum's, as long as the gradient
        return min(rates.plain, rates.pace)
    return rates.pace * PACES.get(optimizer, 1.0)


def _guess(landscape: Landscape) -> Rates:
    pace = max(high - low for low, high in landscape.window) / 40
    slope = float(np.linalg.norm(landscape.gradient(np.array(landscape.starts[0], float))))
    plain = pace / slope if slope else 1.0
    return Rates(plain, plain / 5, pace)

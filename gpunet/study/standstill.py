"""Where descent stands still, and what the curvature says of the place: minimum or saddle."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import rng
from gpunet.activation import Tanh
from gpunet.containers import Sequential
from gpunet.context import no_grad
from gpunet.data import load
from gpunet.fused.step import Step
from gpunet.initializers import Normal
from gpunet.layers import Affine
from gpunet.loss import SoftmaxWithLoss
from gpunet.optim import Momentum
from gpunet.study.hessian import Curvature, at, curvature
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.tables import Table

HILL = (float(np.sort(np.roots([4, 0, -4, 0.3]).real)[1]),)
PLACES = (  # landscape, point, what to call it; minima are taken from the landscape
    ("bowl", (0.0, 0.0), "the minimum"),
    ("wells", None, "the local minimum"),
    ("wells", HILL, "the hill between"),
    ("saddle", (0.0, 0.0), "the saddle"),
    ("bounded-saddle", (0.0, math.sqrt(2)), "beside it, a minimum"),
    ("inflection", (0.0,), "the inflection point"),
)
ROWS, HIDDEN, LR, UPDATES = 100, 8, 0.5, 300
HEAD = ("", "slope", "lowest curvature", "highest", "it is")


def standstill(seed: int = 0) -> list[Table]:
    """Points of the landscapes, and a network trained from zeros and from random weights."""
    return [_places(), _network(seed)]


def _places() -> Table:
    rows = []
    for name, point, what in PLACES:
        landscape = LANDSCAPES[name]
        found = at(landscape, landscape.minima[1] if point is None else point)
        rows.append((f"{name}: {what}", *_row(found)))
    return Table(
        "Where the slope is 0: the extreme eigenvalues of the Hessian",
        HEAD,
        rows,
        "Up in every direction is a minimum, up in one and down in another a saddle. At the "
        "inflection point there is no curvature, and nothing can be told.",
    )


def _network(seed: int) -> Table:
    digits = load("digits").train
    x, t = digits.x[:ROWS].astype(np.float64), digits.t[:ROWS]
    rows = []
    for name, std, updates in (
        ("from zeros", 0.0, UPDATES),
        ("from std 0.3, before", 0.3, 0),
        ("from std 0.3, after", 0.3, UPDATES),
    ):
        model, loss = _trained(std, updates, x, t, seed)
        found = curvature(model, SoftmaxWithLoss(), (x, t))
        rows.append((f"{name} (loss {loss:.3f})", *_row(found)))
    return Table(
        f"{ROWS} digits, 64-{HIDDEN}-10, tanh, {UPDATES} updates of Momentum (lr {LR:g}) with all "
        "rows; by Lanczos",
        HEAD,
        rows,
        "From zeros only the last biases learn; then the slope is 0 at a loss of about log 10: a "
        "saddle, for the loss falls in some direction. Random weights begin among such "
        "directions; training ends where they are all but flat.",
        digits=3,
    )


def _trained(
    std: float, updates: int, x: np.ndarray[Any, Any], t: np.ndarray[Any, Any], seed: int
) -> tuple[Sequential, float]:
    with rng.apart(seed):
        model = Sequential(
            Affine(64, HIDDEN, init=Normal(std), dtype=np.float64),
            Tanh(),
            Affine(HIDDEN, 10, init=Normal(std), dtype=np.float64),
        )
    loss = SoftmaxWithLoss()
    step = Step(model, loss, Momentum(model.parameters(), lr=LR))
    for _ in range(updates):
        step(x, t)
    with no_grad():
        return model, loss(model(x), t).item()


def _row(found: Curvature) -> tuple[float, float, float, str]:
    return found.slope, found.lowest, found.highest, found.kind

"""The noise of a step: how far the gradients of small batches lie around that of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.study.tables import Table

Host = np.ndarray[Any, Any]
DRAWS = 400  # batches, for one variance
ALPHA = 0.9


def row_gradients(model: Layer, loss: Loss, x: Host, t: Host) -> Host:
    """The gradient of each row's own loss, (rows, parameters), by the tape, row by row."""
    parameters = model.parameters()
    found = []
    for k in range(len(x)):
        for p in parameters:
            p.grad = None
        loss(model(x[k : k + 1]), t[k : k + 1]).backward()
        slopes = [p.grad for p in parameters if p.grad is not None]
        found.append(np.concatenate([slope.ravel() for slope in slopes]))
    return np.array(found)


def step_noise(gradients: Host, sizes: Sequence[int], seed: int = 0) -> Table:
    """The variance of steps made of batches drawn from these rows, beside the square of their mean,
    and what momentum leaves of it.
    """
    whole = float(np.square(gradients.mean(axis=0)).sum())
    draw = np.random.default_rng(seed)
    rows: list[tuple[int, float, float, float]] = []
    for size in sizes:
        taken = draw.integers(0, len(gradients), (DRAWS, size))
        steps = np.stack([gradients[batch].mean(axis=0) for batch in taken])
        plain, steadied = _variance(steps) / whole, _variance(_averaged(steps)) / whole
        rows.append((size, plain, rows[0][1] / plain if rows else 1.0, steadied))
    left = (1 + ALPHA) / (1 - ALPHA)
    return Table(
        "The variance of a step at weights that stand still, beside the square of the mean step",
        ("batch", "variance", "times smaller", f"with momentum {ALPHA:g}"),
        rows,
        f"B rows have a Bth of the variance of one. Momentum averages over batches: a {left:.0f}th "
        "is left, (1 - alpha) / (1 + alpha), of steps that are 1 / (1 - alpha) times as long.",
        words=0,
        digits=3,
    )


def _variance(steps: Host) -> float:
    """Summed over the parameters."""
    return float(steps.var(axis=0, ddof=1).sum())


def _averaged(steps: Host) -> Host:
    """The velocities of momentum, brought to the length of a step; the first ones left out."""
    velocity, found = steps[0], []
    for step in steps:
        velocity = ALPHA * velocity + (1 - ALPHA) * step
        found.append(velocity)
    return np.stack(found[int(3 / (1 - ALPHA)) :])

"""Whether noise in the gradient, as small batches bring it, leads out of a local minimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.parameter import Parameter
from gpunet.study.landscapes import Landscape
from gpunet.study.rates import default_lr

SEEDS = 200


def share_at_the_lowest(
    landscape: Landscape,
    optimizer: str,
    start: Sequence[float] | None = None,
    *,
    noise: float,
    steps: int | None = None,
    lr: float | None = None,
    seeds: int = SEEDS,
) -> float:
    """The share of `seeds` walks that end nearer to the lowest minimum than to any other.

    Each walk gets normal noise of its own, with deviation `noise` in every variable, on each
    gradient. All are walked at once, for an update looks at each number by itself. Arguments as of
    `paths.descend`. ValueError for a landscape without minima, or a deviation below 0.
    """
    if not landscape.minima:
        raise ValueError(f"{landscape.name} has no minimum to end in")
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be a number from 0, got {noise}")
    place = np.array(landscape.starts[0] if start is None else start, np.float64)
    points = Parameter(np.tile(place, (seeds, 1)), decay=False)
    rate = default_lr(landscape, optimizer) if lr is None else lr
    settings: dict[str, Any] = {} if rate is None else {"lr": rate}
    one = OPTIMIZERS[optimizer]([points], **settings)
    draw = np.random.default_rng(0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(landscape.steps if steps is None else steps):
            slopes = landscape.gradient(points.data)
            points.grad = slopes + noise * draw.standard_normal(points.shape)
            one.step()
    return float(np.mean(_nearest(points.data, landscape) == 0))


def _nearest(points: np.ndarray[Any, Any], landscape: Landscape) -> np.ndarray[Any, Any]:
    """The number of each point's nearest minimum; -1 for one that went astray."""
    minima = np.array(landscape.minima)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.linalg.norm(points[:, None] - minima, axis=-1)
    return np.where(np.isfinite(apart).all(axis=1), apart.argmin(axis=1), -1)

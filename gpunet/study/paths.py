"""The way an optimizer takes over a landscape: the optimizers that train networks, on a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.parameter import Parameter
from gpunet.study.landscapes import Landscape
from gpunet.study.rates import default_lr
from gpunet.study.styles import SHOWN

Host = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Descent:
    """What `descend` found; float64 throughout.

    points (n + 1, dim) from the start, values (n + 1,), gradients (n, dim) that the steps used.
    lr: None for an optimizer without one.
    diverged: it ended early, before a point or a value that is not finite.
    """

    optimizer: str
    lr: float | None
    points: Host
    values: Host
    gradients: Host
    diverged: bool

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.gradients)

    @property
    def steps(self) -> Host:
        """What each step added to the point: (n, dim)."""
        return np.diff(self.points, axis=0)

    @property
    def effective_lr(self) -> Host:
        """What each step multiplied each gradient by, (n, dim); nan where the gradient was 0.

        It is what AdaGrad, RMSProp and their kin make of lr. With momentum, steps have more
        reasons than the gradient, and this number says little.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.gradients == 0, np.nan, -self.steps / self.gradients)


def longest_first(paths: Sequence[Descent]) -> list[Descent]:
    """By how far they went, there and back: drawn in this order, no path hides a shorter one."""

    def length(path: Descent) -> float:
        with np.errstate(over="ignore"):
            return float(np.linalg.norm(path.steps, axis=1).sum())

    return sorted(paths, key=length, reverse=True)


def best(paths: Sequence[Descent], count: int = SHOWN) -> list[Descent]:
    """The `count` that end lowest; those that diverged come last."""

    def end(path: Descent) -> tuple[bool, float]:
        return path.diverged, float(path.values[-1])

    return sorted(paths, key=end)[:count]


def descend(
    landscape: Landscape,
    optimizer: str,
    start: Sequence[float] | None = None,
    *,
    steps: int | None = None,
    lr: float | None = None,
    noise: float = 0.0,
    **settings: Any,
) -> Descent:
    """Up to `steps` updates of one of gpunet's own optimizers, in float64.

    Args:
        optimizer: a name in `gn.OPTIMIZERS`.
        start, steps: the landscape's by default.
        lr: by default one that suits the landscape (`gpunet.study.rates`).
        noise: the deviation of normal noise that is added to each gradient, by a fixed seed.
        settings: others of the optimizer, such as momentum=0.5. (weight_decay leaves a point
            alone, as it does biases, unless decay_all=True.)

    Raises:
        ValueError: an unknown optimizer, a start of another dimension or without a finite value, a
            setting out of range, an lr for an optimizer without one.
        TypeError: a setting that the optimizer does not have.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {optimizer!r}; there are {', '.join(OPTIMIZERS)}")
    if lr is not None and not OPTIMIZERS[optimizer].has_lr:
        raise ValueError(f"{optimizer} has no learning rate; leave it out")
    point = Parameter(start_of(landscape, start), decay=False)
    lr = default_lr(landscape, optimizer) if lr is None else lr
    if lr is not None:
        settings["lr"] = lr
    opt = OPTIMIZERS[optimizer]([point], **settings)
    points, values, gradients, diverged = _walk(
        landscape, point, opt, landscape.steps if steps is None else steps, noise
    )
    return Descent(
        optimizer=optimizer,
        lr=lr,
        points=points,
        values=values,
        gradients=gradients,
        diverged=diverged,
    )


def _walk(
    landscape: Landscape, point: Parameter, opt: Optimizer, steps: int, noise: float
) -> tuple[Host, Host, Host, bool]:
    """Points, values, gradients, and whether it ended early."""

    def look() -> bool:
        """Values and gradient here; False where they are not finite."""
        opt.zero_grad()
        value = landscape.function(point)
        if not (np.isfinite(value.data) and np.isfinite(point.data).all()):
            return False
        value.backward()
        if noise and point.grad is not None:
            point.grad = point.grad + noise * draw.standard_normal(point.shape)
        points.append(point.data.copy())
        values.append(value.item())
        gradients.append(np.array(point.grad))
        return True

    draw = np.random.default_rng(0)
    points: list[Host] = []
    values: list[float] = []
    gradients: list[Host] = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        alive = look()
        if not alive:
            raise ValueError(f"{landscape.name} has no finite value at the start {point.numpy()}")
        while alive and len(points) <= steps:
            opt.step()
            alive = look()
    used = np.array(gradients[:-1]).reshape(-1, landscape.dim)  # the last led nowhere
    return np.array(points), np.array(values), used, not alive


def start_of(landscape: Landscape, start: Sequence[float] | None) -> Host:
    """`start`, or the landscape's first; ValueError for one of another dimension."""
    point = np.array(landscape.starts[0] if start is None else start, np.float64)
    if point.shape != (landscape.dim,):
        count = "1 number" if landscape.dim == 1 else f"{landscape.dim} numbers"
        raise ValueError(f"a start on {landscape.name} is {count}, got {point.tolist()}")
    return point

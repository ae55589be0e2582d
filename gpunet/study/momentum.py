"""What momentum does to a path: how fast, how far past a minimum, and out of which valley."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.parameter import Parameter
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.paths import descend
from gpunet.study.tables import Table
from gpunet.tensor import Tensor

ALPHAS = (0.0, 0.5, 0.9, 0.99, 1.0)
TILTS = (0.3, 0.6, 0.9, 1.2)
LATE = 50  # steps, the last ones of a path


def momentum(alphas: Sequence[float] = ALPHAS) -> list[Table]:
    """Four tables on momentum: velocity, swings, valleys, SGD's own step at 0.

    ValueError for an alpha outside 0 to 1.
    """
    return [_velocity(alphas), _swings(alphas), _thrown(alphas), _depth()]


def _velocity(alphas: Sequence[float]) -> Table:
    """Under a gradient of 1 that never changes."""
    lr, marks = 0.1, (1, 10, 100, 200)
    rows = []
    for alpha in alphas:
        weight = Parameter(np.zeros(1))
        one = OPTIMIZERS["momentum"]([weight], lr=lr, momentum=alpha)
        lengths = []
        for _ in range(marks[-1]):
            before = weight.data.item()
            weight.grad = np.ones(1)
            one.step()
            lengths.append(abs(weight.data.item() - before))
        bound = lr / (1 - alpha) if alpha < 1 else np.inf
        rows.append((f"{alpha:g}", *(lengths[m - 1] for m in marks), bound))
    return Table(
        f"A gradient of 1 at every step, lr {lr:g}: the length of a step",
        ("alpha", *(f"step {m}" for m in marks), "bound"),
        rows,
        "The bound is lr / (1 - alpha). At 1 there is none: every step is longer than the last.",
    )


def _swings(alphas: Sequence[float]) -> Table:
    """How a path behaves around the minimum of the bowl."""
    bowl, lr, steps = LANDSCAPES["bowl"], 0.1, 300
    rows = []
    for alpha in alphas:
        path = descend(bowl, "momentum", lr=lr, steps=steps, momentum=alpha)
        across = np.sign(path.points[:, 1])
        turns = int(np.count_nonzero(across[1:] != across[:-1]))
        rises = int(np.count_nonzero(np.diff(path.values) > 0))
        late = float(np.linalg.norm(path.points[-LATE:], axis=1).max())
        rows.append((f"{alpha:g}", turns, rises, late, path.values[-1]))
    return Table(
        f"{bowl.name} {bowl.formula} from {bowl.starts[0]}, lr {lr:g}, {steps} steps",
        ("alpha", "y crosses 0", "steps uphill", f"farthest in the last {LATE}", "height at last"),
        rows,
        "Alpha 0 is SGD, which never goes uphill here. Some momentum is faster; too much circles.",
    )


def _thrown(alphas: Sequence[float]) -> Table:
    """Started above the lowest minimum: is it still there in the end?"""
    wells, lr, steps = LANDSCAPES["wells"], 0.02, 500
    start = wells.starts[2]
    rows = [
        (f"{alpha:g}", path.points[-1].item(), _where(path.points, wells))
        for alpha in alphas
        for path in [descend(wells, "momentum", start, lr=lr, steps=steps, momentum=alpha)]
    ]
    return Table(
        f"{wells.name} {wells.formula} from x = {start[0]:g}, above the global minimum; lr {lr:g}, "
        f"{steps} steps",
        ("alpha", "x at last", "ends in"),
        rows,
        "A ball that is fast enough leaves the global minimum too.",
    )


def _where(points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], place: Landscape) -> str:
    """In which valley of two a path has come to rest."""
    if np.ptp(points[-LATE:]) > 0.1:
        return "none: it goes on"
    apart = [abs(points[-1].item() - minimum[0]) for minimum in place.minima]
    return ("the global minimum", "the local minimum")[int(np.argmin(apart))]


def _depth() -> Table:
    """The local minimum of a double well, the deeper the less the whole is tilted."""
    lr, start, steps = 0.02, (1.5,), 200
    rows = []
    for tilt in TILTS:
        wells = _tilted(tilt)
        low, hill, local = sorted(np.roots([4, 0, -4, tilt]).real)
        depth = wells.value((hill,)) - wells.value((local,))
        ends = [
            descend(wells, name, start, lr=lr, steps=steps).points[-1].item()
            for name in ("sgd", "momentum")
        ]
        found = ["leaves" if abs(x - low) < abs(x - local) else "stays" for x in ends]
        rows.append((f"{tilt:g}", f"{depth:.3f}", *found))
    return Table(
        f"(x² - 1)² + tilt x from x = {start[0]:g}, lr {lr:g}, alpha 0.9: does it leave the local "
        "minimum?",
        ("tilt", "hill above it", "SGD", "Momentum"),
        rows,
        "Momentum leaves the shallow ones and stays in the deep one; SGD stays in all.",
        words=4,
    )


def _tilted(tilt: float) -> Landscape:
    def function(p: Tensor) -> Tensor:
        x = p[..., 0]
        return (x * x - 1) ** 2 + tilt * x

    return replace(LANDSCAPES["wells"], function=function, minima=())

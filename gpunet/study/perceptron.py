"""The losses of one perceptron over its weight and bias: convex or not, steep or flat.

The perceptron is sigmoid(w x + b), on six points that no threshold divides without a mistake. L2 is
the mean of (y - t)², KL the mean of t log(t / y) + (1 - t) log((1 - t) / (1 - y)): for targets of 0
and 1 the cross-entropy (Bishop 2006, section 4.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.activations import sigmoid, softplus
from gpunet.study import pictures
from gpunet.study.contours import heights, levels
from gpunet.study.hessian import at
from gpunet.study.landscapes import Landscape
from gpunet.study.second_order import newton
from gpunet.study.tables import Cell, Table
from gpunet.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Host = np.ndarray[Any, Any]
X = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
T = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
WINDOW = ((-10.0, 10.0), (-10.0, 10.0))
GRID = (81, 81)
FAR = (-8.0, 0.0)  # as wrong as can be
REACH = 1e-4  # of the differences, for the curvature over the grid


def _outputs(p: Tensor) -> Tensor:
    """w x + b of every point, (..., 6)."""
    return p[..., 0:1] * X + p[..., 1:2]


def _l2(p: Tensor) -> Tensor:
    return ((sigmoid(_outputs(p)) - T) ** 2).mean(axis=-1)


def _kl(p: Tensor) -> Tensor:
    z = _outputs(p)
    return (softplus(z) - T * z).mean(axis=-1)


def _landscape(name: str, function: Any) -> Landscape:
    return Landscape(
        name=name,
        formula="one perceptron, sigmoid(w x + b)",
        function=function,
        minima=(),
        window=WINDOW,
        starts=((1.0, 0.0), FAR),
        steps=50,
        lesson="",
        source="Bishop, Pattern Recognition and Machine Learning (2006), section 4.3",
    )


SURFACES = {"L2": _landscape("L2", _l2), "KL": _landscape("KL", _kl)}


def lowest_curvature(surface: Landscape) -> Host:
    """The Hessian's lower eigenvalue over the window (GRID[1], GRID[0]), by differences."""
    axes = (np.linspace(*ends, n) for ends, n in zip(WINDOW, GRID, strict=True))
    points = np.stack(np.meshgrid(*axes), axis=-1)
    columns = [
        (surface.gradient(points + way) - surface.gradient(points - way)) / (2 * REACH)
        for way in REACH * np.eye(2)
    ]
    found = np.stack(columns, axis=-1)
    return np.asarray(np.linalg.eigvalsh((found + found.swapaxes(-1, -2)) / 2)[..., 0])


def best(surface: Landscape) -> Host:
    """The point of the least loss."""
    return np.asarray(newton(surface, absolute=True).points[-1].round(9) + 0.0)


def perceptron() -> list[Table]:
    """Two tables: the curvature of both surfaces, and their slopes far from and near the best."""
    return [_curvatures(), _slopes()]


def _curvatures() -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, surface in SURFACES.items():
        lowest = lowest_curvature(surface)
        optimum = best(surface)
        down = float((lowest < -1e-7).mean())
        convex = "no" if down else "yes"
        there = at(surface, optimum).lowest
        rows.append((name, *optimum, there, lowest.min(), f"{down:.0%}", convex))
    return Table(
        "One perceptron on six points: the lower second derivative for w, b from -10 to 10",
        ("loss", "best w", "best b", "there", "lowest anywhere", "curves down in", "convex"),
        rows,
        "KL curves up everywhere. L2 curves down where outputs are saturated, and slopes end in "
        "plains.",
    )


def _slopes() -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, surface in SURFACES.items():
        w, b = best(surface)
        slopes = [
            float(np.linalg.norm(surface.gradient(np.asarray(point))))
            for point in (FAR, (-4.0, 0.0), (w + 0.5, b), (w + 0.05, b))
        ]
        rows.append((name, *slopes))
    return Table(
        "The length of the slope",
        ("loss", "far, w -8", "w -4", "0.5 beside the best", "0.05 beside it"),
        rows,
        "Far off KL pulls as hard as the mistake is large, L2 hardly at all; near the best both "
        "slopes fall in step with the distance.",
    )


def draw() -> Figure:
    """Both surfaces as contours, with the part that curves down dotted. ImportError without
    matplotlib.
    """
    figure = pictures.new_figure(9.6, 4.6)
    x, y = (np.linspace(*ends, n) for ends, n in zip(WINDOW, GRID, strict=True))
    for axes, (name, surface) in zip(figure.subplots(1, 2), SURFACES.items(), strict=True):
        values = heights(surface, *GRID)
        bands = pictures.draw_bands(axes, x, y, values, levels(values))
        pictures.draw_scale(axes, bands, "")
        lowest = lowest_curvature(surface)
        if (lowest < -1e-7).any():
            axes.contourf(x, y, lowest, levels=[-np.inf, -1e-7], colors="none", hatches=[".."])
        axes.plot(*best(surface), "*", color="black", markeredgecolor="white", markersize=11)
        axes.set(xlabel="w", ylabel="b", title=name + ", dotted: curves down" * (name == "L2"))
    return figure

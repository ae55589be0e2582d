"""Second-order methods on the landscapes, beside the optimizers: Newton's, and SciPy's L-BFGS.

Newton's step goes where the slope would be 0 if the curvature stayed what it is. That is a minimum,
a maximum or a saddle, whichever is near: Dauphin et al. (2014), whose cure is `absolute`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.extras import extra
from gpunet.study.hessian import hessian
from gpunet.study.landscapes import Landscape, named
from gpunet.study.paths import Descent, start_of

Host = np.ndarray[Any, Any]
LEAST = 1e-12  # curvature beside the largest; less counts as none, and no step goes there
REST = 1e-10  # a slope that is as good as none


def newton(
    landscape: Landscape | str,
    start: Sequence[float] | None = None,
    *,
    steps: int | None = None,
    absolute: bool = False,
) -> Descent:
    """Newton's method, x - H^-1 g, until the slope is gone.

    Args:
        landscape: one, or its name in `LANDSCAPES`.
        start, steps: the landscape's by default.
        absolute: with the absolute values of the Hessian's eigenvalues (saddle-free Newton): away
            from saddles and maxima, not to them.

    Raises:
        ValueError: an unknown name, a start of another dimension, or without a finite value.
    """
    landscape = named(landscape)
    points = [_begin(landscape, start)]
    gradients: list[Host] = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for _ in range(landscape.steps if steps is None else steps):
            slope = landscape.gradient(points[-1])
            if np.linalg.norm(slope) < REST:
                break
            values, axes = np.linalg.eigh(hessian(landscape.gradient, points[-1]))
            used = np.abs(values) > LEAST * max(np.abs(values).max(), 1.0)
            inverse = np.where(used, 1 / np.where(used, values, 1), 0)
            inverse = np.abs(inverse) if absolute else inverse
            there = points[-1] - axes @ (inverse * (axes.T @ slope))
            if not np.isfinite([*there, _height(landscape, there)]).all():
                return _descent("newton", landscape, points, gradients, diverged=True)
            gradients.append(slope)
            points.append(there)
    return _descent("newton", landscape, points, gradients)


def lbfgs(
    landscape: Landscape | str, start: Sequence[float] | None = None, *, steps: int | None = None
) -> Descent:
    """SciPy's L-BFGS-B (Byrd et al. 1995), a point an iteration, which may ask for several slopes.

    Raises:
        ImportError: without SciPy, the extra `study`.
        ValueError: an unknown name, a start of another dimension, or without a finite value.
    """
    landscape = named(landscape)
    optimize: Any = extra("scipy.optimize", "study", "L-BFGS")
    points = [_begin(landscape, start)]
    limit = landscape.steps if steps is None else steps
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        optimize.minimize(
            lambda point: _height(landscape, point),
            points[0],
            jac=landscape.gradient,
            method="L-BFGS-B",
            callback=lambda point: points.append(np.array(point)),
            options={"maxiter": limit, "ftol": 0, "gtol": REST},
        )
    kept = [point for point in points if np.isfinite([*point, _height(landscape, point)]).all()]
    slopes = [landscape.gradient(point) for point in kept[:-1]]
    return _descent("lbfgs", landscape, kept, slopes, diverged=len(kept) < len(points))


def _height(landscape: Landscape, point: Host) -> float:
    return float(landscape(point))


def _begin(landscape: Landscape, start: Sequence[float] | None) -> Host:
    point = start_of(landscape, start)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite([*point, _height(landscape, point)]).all():
            raise ValueError(f"{landscape.name} has no finite value at the start {point}")
    return point


def _descent(
    name: str,
    landscape: Landscape,
    points: list[Host],
    gradients: list[Host],
    diverged: bool = False,
) -> Descent:
    return Descent(
        optimizer=name,
        lr=None,
        points=np.array(points),
        values=np.array([_height(landscape, point) for point in points]),
        gradients=np.array(gradients).reshape(-1, landscape.dim),
        diverged=diverged,
    )


SECOND_ORDER = {"newton": newton, "lbfgs": lbfgs}

"""The curvature where a path or a training stands: it tells a saddle from a minimum.

Products of the Hessian with a vector are differences of two gradients (Pearlmutter 1994 names them
as what his exact ones replace), its extreme eigenvalues come by Lanczos' method from such products
alone: SciPy's eigsh, with the extra `study`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import to_device, to_host
from gpunet.extras import extra
from gpunet.layer import Layer
from gpunet.loss import as_loss
from gpunet.study.landscapes import Landscape
from gpunet.train.feed import Feed
from gpunet.train.snapshot import Snapshot

Host = np.ndarray[Any, Any]
Gradient = Callable[[Host], Host]
FLAT = 1e-2  # of the largest eigenvalue: less is hardly any curvature beside it
NONE = 1e-6  # and less than this is rounding


class Curvature(NamedTuple):
    """lowest, highest: the extreme eigenvalues of the Hessian. slope: the gradient's length; only
    where it is near 0 is the place one to stand on.
    """

    slope: float
    lowest: float
    highest: float

    @property
    def kind(self) -> str:
        """ "a minimum", "a saddle", "a maximum" or "flat in some direction", by curvature."""
        flat = max(FLAT * max(abs(self.lowest), abs(self.highest)), NONE)
        if self.lowest < -flat:
            return "a saddle" if self.highest > flat else "a maximum"
        return "a minimum" if self.lowest > flat else "flat in some direction"


def curvature(model: Layer, loss: Callable[[Any, Any], Any], data: Any) -> Curvature:
    """Of the mean loss over `data`, all rows at once, where the model's weights are; in evaluation
    mode. Frozen parameters are constants. Weights, gradients and modes are the same afterwards, bit
    for bit.

    Differences of float32 gradients have two or three digits; a model of float64 gives six.

    Args:
        data: (x, t) or an object with .x and .t.

    Raises:
        ImportError: without SciPy.
        ValueError: data that do not fit, a model with fewer than three numbers to train.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    origin = np.concatenate([np.zeros(0), *(to_host(p.data).ravel() for p in trained)])
    if len(origin) < 3:
        raise ValueError(f"Lanczos' method wants three numbers to train or more, not {len(origin)}")
    with gradients_of(model, loss, data) as gradient:
        slope = float(np.linalg.norm(gradient(origin)))
        reach = np.cbrt(np.finfo(trained[0].dtype).eps)
        return Curvature(slope, *_extremes(gradient, origin, reach))


def at(landscape: Landscape, point: Any) -> Curvature:
    """Of a landscape at a point."""
    place = np.array(point, np.float64)
    values = np.linalg.eigvalsh(hessian(landscape.gradient, place))
    return Curvature(float(np.linalg.norm(landscape.gradient(place))), values[0], values[-1])


def hessian(gradient: Gradient, point: Host) -> Host:
    """All of it, (n, n), for small n; by central differences, made symmetric."""
    found = np.stack([product(gradient, point, unit) for unit in np.eye(len(point))])
    return np.asarray((found + found.T) / 2)


def product(gradient: Gradient, point: Host, vector: Host, reach: float = 1e-5) -> Host:
    """The Hessian times `vector`: the gradient's difference over a way of 2 `reach` along it, in
    units of the point's own length, but at least 1.
    """
    length = float(np.linalg.norm(vector))
    if not length:
        return np.zeros_like(vector)
    way = reach * max(1.0, float(np.linalg.norm(point))) / length
    difference = gradient(point + way * vector) - gradient(point - way * vector)
    return np.asarray(difference / (2 * way))


def _extremes(gradient: Gradient, point: Host, reach: float) -> tuple[float, float]:
    linalg: Any = extra("scipy.sparse.linalg", "study", "the curvature of a network")
    count = len(point)
    operator = linalg.LinearOperator(
        (count, count), lambda v: product(gradient, point, np.ravel(v), reach), dtype=np.float64
    )
    start = np.random.default_rng(0).standard_normal(count)
    both = linalg.eigsh(
        operator, k=2, which="BE", tol=1e-4, v0=start, return_eigenvectors=False, ncv=min(count, 20)
    )
    return float(both.min()), float(both.max())


@contextmanager
def gradients_of(model: Layer, loss: Callable[[Any, Any], Any], data: Any) -> Iterator[Gradient]:
    """A function of all numbers to train (n,): the gradient there (n,), in float64 on the host."""
    feed = Feed(data, model, loss, "data")
    x, t, *weight = feed.rows(feed.in_order(len(feed))[0])
    whole, parameters = as_loss(loss), [p for p in model.parameters() if p.requires_grad]
    cuts = np.cumsum([p.size for p in parameters])[:-1]
    before = [None if p.grad is None else p.grad.copy() for p in parameters]

    def gradient(point: Host) -> Host:
        for p, part in zip(parameters, np.split(point, cuts), strict=True):
            p.data[...] = to_device(part.reshape(p.shape), model.device)
            p.grad = None
        whole(model(x), t, *weight).backward()
        parts = [np.zeros(p.size) if p.grad is None else to_host(p.grad) for p in parameters]
        return np.concatenate([part.ravel() for part in parts]).astype(np.float64)

    with Snapshot(model).restored():
        model.eval()
        try:
            yield gradient
        finally:
            for p, grad in zip(parameters, before, strict=True):
                p.grad = grad

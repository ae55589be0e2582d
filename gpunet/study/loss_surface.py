"""The loss around a trained network, in a plane of its weights' space (Li et al. 2018).

H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the Loss Landscape of Neural Nets",
NeurIPS 2018: section 4 has the filter-normalised directions, section 7 the path in its own plane.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend import Array, module_for, to_device, to_host
from gpunet.colours import COLOURS
from gpunet.context import no_grad
from gpunet.layer import Layer
from gpunet.loss import as_loss
from gpunet.study import pictures
from gpunet.study.contours import levels
from gpunet.study.trajectory import Trajectory, flat_parameters
from gpunet.train.feed import Feed
from gpunet.train.snapshot import Snapshot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Host = np.ndarray[Any, Any]
MARGIN = 0.25  # of the path's extent, left free around it


@dataclass(frozen=True, eq=False)
class Surface:
    """What `surface` found.

    x (n,), y (n,): steps along the two directions, 0 where the model stands.
    loss (n, n): loss[j, i] at x[i], y[j]; not finite where the network overflows.
    path (records, 2): the trajectory seen in the plane, path_loss (records,) the loss at its own
    points, which lie outside the plane; None without a trajectory.
    directions (2, parameters). kind: "pca" or "random".
    explained: for "pca" the shares of the trajectory's variance along the two directions.
    """

    x: Host
    y: Host
    loss: Host
    path: Host | None
    path_loss: Host | None
    directions: Host
    kind: str
    explained: tuple[float, float] | None

    def save(self, path: str | os.PathLike[str], title: str = "") -> None:
        """The picture (.png, .svg or .pdf), written atomically; ImportError without matplotlib."""
        pictures.save_figure(self.draw(title), path)

    def draw(self, title: str = "") -> Figure:
        """The matplotlib figure: contours of the loss with the path, a full dot at the model."""
        figure = pictures.new_figure(6.4, 5.2)
        axes = figure.subplots()
        shown = np.ma.masked_invalid(self.loss)
        bands = pictures.draw_bands(axes, self.x, self.y, shown, levels(self.loss))
        pictures.draw_scale(axes, bands, "loss")
        if self.path is not None:
            axes.plot(*self.path.T, color="white", linewidth=3, alpha=0.7)
            axes.plot(*self.path.T, "o-", color=COLOURS[0], markersize=3.5, linewidth=1.6)
            ring: dict[str, Any] = {
                "markersize": 9,
                "markerfacecolor": "none",
                "color": COLOURS[0],
            }
            axes.plot(*self.path[0], "o", **ring)
        axes.plot(0, 0, "o", markersize=8, color=COLOURS[0], markeredgecolor="white", zorder=5)
        labels = self._labels()
        axes.set(xlim=_ends(self.x), ylim=_ends(self.y), xlabel=labels[0], ylabel=labels[1])
        axes.set_title(title)
        return figure

    def _labels(self) -> list[str]:
        if self.explained is None:
            return ["first random direction", "second random direction"]
        words = ("first main direction", "second main direction")
        return [f"{w} ({s:.0%} of the path)" for w, s in zip(words, self.explained, strict=True)]


def surface(
    model: Layer,
    loss: Callable[[Any, Any], Any],
    data: Any,
    trajectory: Trajectory | None = None,
    *,
    kind: str | None = None,
    points: int = 25,
    reach: float = 1.0,
    seed: int = 0,
) -> Surface:
    """The loss on `points` x `points` places around the model's weights, in evaluation mode.

    The model is the same afterwards, bit for bit. Its running statistics hold for every place: a
    BatchNorm is the fixed affine map that it is after the training. (Among random directions a path
    shrinks to a dot: in so many dimensions they are all but at right angles to it. Li et al.,
    section 7, take the path's own directions for that.)

    Args:
        data: (x, t) or an object with .x and .t; all rows go through the model at once.
        trajectory: of this model's training; drawn in, and needed for "pca".
        kind: "pca", the plane of the path's two main directions, with the path's extent; or
            "random", two random directions scaled to the weights neuron by neuron (biases, gamma
            and beta stay as they are), -reach to reach. By default "pca" if there is a trajectory.
        points: along each side.
        seed: of the random directions.

    Raises:
        ValueError: settings or data that do not fit; for "pca" a trajectory of fewer than two
            different records.
    """
    kind = kind or ("random" if trajectory is None else "pca")
    _check(kind, points, reach)
    origin = flat_parameters(model)
    offsets = None if trajectory is None else _offsets(trajectory, origin)
    directions, explained = _directions(kind, model, offsets, seed)
    path = None if offsets is None else _seen(offsets, directions)
    ends = _around(path) if kind == "pca" and path is not None else [(-reach, reach)] * 2
    x, y = (np.linspace(low, high, int(points)) for low, high in ends)
    plane = [(a, b) for b in y for a in x]
    with _losses_of(model, loss, data) as losses:
        grid = losses(origin, directions, plane).reshape(len(y), len(x))
        on_path = None if offsets is None else losses(origin, offsets, np.eye(len(offsets)))
    return Surface(
        x=x,
        y=y,
        loss=grid,
        path=path,
        path_loss=on_path,
        directions=directions,
        kind=kind,
        explained=explained,
    )


def _check(kind: str, points: int, reach: float) -> None:
    if kind not in ("pca", "random"):
        raise ValueError(f'kind must be "pca" or "random", got {kind!r}')
    if isinstance(points, bool) or not isinstance(points, (int, np.integer)) or points < 2:
        raise ValueError(f"points must be a whole number from 2, got {points!r}")
    if not 0 < reach < np.inf:
        raise ValueError(f"reach must be a number above 0, got {reach}")


def _directions(
    kind: str, model: Layer, offsets: Host | None, seed: int
) -> tuple[Host, tuple[float, float] | None]:
    """Of the plane; for "pca" with the shares of the path's variance along them."""
    if kind == "random":
        return random_directions(model, seed), None
    if offsets is None:
        raise ValueError('kind="pca" needs a trajectory of the training')
    return main_directions(offsets)


def random_directions(model: Layer, seed: int = 0) -> Host:
    """Two directions (2, parameters): Gaussian, each column of a weight matrix (a neuron's
    weights) as long as the model's own; 0 for what has fewer than two axes (Li et al., section 4).
    """
    generator = np.random.default_rng(seed)
    return np.stack([_random_direction(model, generator) for _ in range(2)])


def _random_direction(model: Layer, generator: np.random.Generator) -> Host:
    parts = []
    for p in model.parameters():
        weights = to_host(p.data).astype(np.float64)
        part = generator.standard_normal(weights.shape)
        if weights.ndim < 2:
            part[...] = 0
        else:
            own, drawn = (np.linalg.norm(a, axis=-2, keepdims=True) for a in (weights, part))
            part *= own / drawn
        parts.append(part.ravel())
    return np.concatenate(parts)


def main_directions(offsets: Host) -> tuple[Host, tuple[float, float]]:
    """The two main directions (2, parameters) of the rows, orthonormal, by PCA; and which share of
    the variance lies along each. ValueError for fewer than two different rows.
    """
    if offsets.shape[1] < 2:
        raise ValueError("a plane needs two parameters at least")
    centred = offsets - offsets.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2
    if len(offsets) < 2 or not variances[0] > 0:
        raise ValueError("the trajectory needs two different records at least")
    if len(directions) < 2 or variances[1] <= 1e-24 * variances[0]:
        directions = np.stack([directions[0], _beside(directions[0])])
    shares = (variances / variances.sum()).tolist()
    return directions[:2], (shares[0], shares[1])


def _beside(direction: Host) -> Host:
    """A unit vector at a right angle: a straight path leaves its second direction open."""
    other = np.zeros_like(direction)
    other[int(np.abs(direction).argmin())] = 1
    other -= (other @ direction) * direction
    return np.asarray(other / np.linalg.norm(other))


def _offsets(trajectory: Trajectory, origin: Host) -> Host:
    """The records as seen from the model."""
    points = trajectory.points
    if points.shape[1] != len(origin):
        raise ValueError(
            f"the trajectory has {points.shape[1]} parameters, the model {len(origin)}"
        )
    return points - origin


def _seen(offsets: Host, directions: Host) -> Host:
    """Each offset's place (records, 2) in the plane: the nearest point of it."""
    return np.asarray(np.linalg.lstsq(directions.T, offsets.T, rcond=None)[0].T)


def _around(path: Host) -> list[tuple[float, float]]:
    """(low, high) of each axis: path and model with a margin; not flatter than 1 to 5."""
    low, high = np.minimum(path.min(axis=0), 0), np.maximum(path.max(axis=0), 0)
    size = np.maximum(high - low, (high - low).max() / 5)
    middle, half = (low + high) / 2, size * (0.5 + MARGIN)
    return [(m - h, m + h) for m, h in zip(middle.tolist(), half.tolist(), strict=True)]


def _ends(axis: Host) -> tuple[float, float]:
    return float(axis[0]), float(axis[-1])


Losses = Callable[[Host, Host, Sequence[Any] | Host], Host]


@contextmanager
def _losses_of(model: Layer, loss: Callable[[Any, Any], Any], data: Any) -> Iterator[Losses]:
    """A function (origin, directions, steps): the losses at origin + steps @ directions. The
    model's weights and modes come back at the end.
    """
    feed = Feed(data, model, loss, "data")
    x, t, *weight = feed.rows(feed.in_order(len(feed))[0])
    whole, parameters = as_loss(loss), model.parameters()

    def losses(origin: Host, directions: Host, steps: Sequence[Any] | Host) -> Host:
        found = module_for(model.device).zeros(len(steps), np.float64)
        start, ways = _split(origin, model), [_split(d, model) for d in directions]
        for k, step in enumerate(steps):
            _place(parameters, start, ways, step)
            found[k] = whole(model(x), t, *weight).data
        return np.asarray(to_host(found))

    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with Snapshot(model).restored(), no_grad(), quiet:
        model.eval()
        yield losses


def _split(flat: Host, model: Layer) -> list[Array]:
    """A flat array as one array a parameter, in its shape and on its device."""
    parameters = model.parameters()
    cuts = np.cumsum([p.size for p in parameters])[:-1]
    return [
        to_device(part.reshape(p.shape), model.device)
        for part, p in zip(np.split(flat, cuts), parameters, strict=True)
    ]


def _place(parameters: Sequence[Any], start: list[Array], ways: Any, step: Any) -> None:
    """Weights to start + the sum of step[d] * ways[d]; directions of weight 0 cost nothing."""
    used = [(float(s), way) for s, way in zip(step, ways, strict=True) if s]
    for k, p in enumerate(parameters):
        p.data[...] = sum((s * way[k] for s, way in used), start[k])

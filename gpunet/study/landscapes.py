"""Landscapes: small functions of one or two variables on which an optimizer's way can be seen.

Each is written with Tensor arithmetic, so autograd gives the gradient, and reads its points as
(..., dim): one call values a point, a path or a whole grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.tape import Backward
from gpunet.tensor import Tensor, op

Point = tuple[float, ...]


@dataclass(frozen=True)
class Landscape:
    """A function to descend.

    name: as the command line spells it. formula: in plain text.
    function: Tensor (..., dim) -> Tensor (...).
    minima: the lowest first (saddle points and the many of Rastrigin's left out); () if none.
    window: (low, high) of each axis, what a picture shows.
    starts: good points to start from, the first by default. steps: how many are worth a look.
    lesson: what there is to see. source: where it comes from.
    """

    name: str
    formula: str
    function: Callable[[Tensor], Tensor]
    minima: tuple[Point, ...]
    window: tuple[tuple[float, float], ...]
    starts: tuple[Point, ...]
    steps: int
    lesson: str
    source: str

    @property
    def dim(self) -> int:
        return len(self.window)

    def __call__(self, points: Array) -> Array:
        """Heights of an array of points (..., dim), as an array (...)."""
        return self.function(Tensor(points)).data

    def value(self, point: Sequence[float]) -> float:
        """The height of one point."""
        return float(self(np.array(point, np.float64)))

    def gradient(self, points: Array) -> Array:
        """Gradients of an array of points (..., dim), of its shape."""
        tensor = Tensor(points, requires_grad=True)
        self.function(tensor).sum().backward()
        return tensor.grad


def named(landscape: Landscape | str) -> Landscape:
    """A landscape, or that of this name. ValueError for a name that none has."""
    if isinstance(landscape, Landscape):
        return landscape
    if landscape not in LANDSCAPES:
        raise ValueError(f"no landscape {landscape!r}; there are {', '.join(LANDSCAPES)}")
    return LANDSCAPES[landscape]


@op
def sin(x: Array) -> tuple[Array, Backward]:
    xp = array_module(x)
    return xp.sin(x), lambda g: g * xp.cos(x)


@op
def sinc(x: Array) -> tuple[Array, Backward]:
    """sin(x) / x, 1 at 0 (the unnormalised one)."""
    xp = array_module(x)
    safe = xp.where(x == 0, 1, x)
    y = xp.where(x == 0, 1, xp.sin(safe) / safe)

    def backward(g: Array) -> Array:
        # Near 0 the difference has no digits left, and the series' first term has all.
        return g * xp.where(abs(x) < 1e-4, -x / 3, (xp.cos(x) - y) / safe)

    return y, backward


def _bowl(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return x * x / 20 + y * y


def _wells(p: Tensor) -> Tensor:
    x = p[..., 0]
    return (x * x - 1) ** 2 + 0.3 * x


def _inflection(p: Tensor) -> Tensor:
    x = p[..., 0]
    return x**4 - x**3 * (4 / 3)


def _saddle(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return x * x - y * y


def _bounded_saddle(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return x * x - y * y + y**4 / 4


def _plateau(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return 1 - (-(x * x + y * y) / 2).exp()


def _beale(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y * y) ** 2 + (2.625 - x + x * y * y * y) ** 2


def _rosenbrock(p: Tensor) -> Tensor:
    x, y = p[..., 0], p[..., 1]
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def _rastrigin(p: Tensor) -> Tensor:
    waves = 10 * sin(2 * math.pi * p + math.pi / 2)  # 10 cos(2 pi x)
    return (p * p - waves + 10).sum(axis=-1)


def _abs(p: Tensor) -> Tensor:
    return p[..., 0].abs()


def _abs10(p: Tensor) -> Tensor:
    return (p[..., 0] - 10).abs()


def _sinc(p: Tensor) -> Tensor:
    return 10 * sinc(p[..., 0])


def _wells_minima() -> tuple[Point, ...]:
    """Where 4 x^3 - 4 x + 0.3 = 0, without the hill between the two valleys."""
    left, _, right = sorted(np.roots([4, 0, -4, 0.3]).real)
    return (float(left),), (float(right),)


SINC_MINIMA = (4.493409457909064, 10.904121659428899)  # tan(x) = x


LANDSCAPES: dict[str, Landscape] = {
    landscape.name: landscape
    for landscape in (
        Landscape(
            name="bowl",
            formula="x²/20 + y²",
            function=_bowl,
            minima=((0.0, 0.0),),
            window=((-10, 10), (-5, 5)),
            starts=((-7.0, 2.0), (8.0, -4.0)),
            steps=40,
            lesson="Steep across, gentle along: SGD zigzags, Momentum less.",
            source="Saito, Deep Learning from Scratch (2016), section 6.1",
        ),
        Landscape(
            name="wells",
            formula="(x² - 1)² + 0.3 x",
            function=_wells,
            minima=_wells_minima(),
            window=((-1.9, 1.9),),
            starts=((1.7,), (0.3,), (-1.7,)),
            steps=60,
            lesson="A local minimum on the right stops SGD; Momentum rolls on into the global one.",
            source="a tilted double well; tilt 0.3 leaves a hill 0.72 high before the global one",
        ),
        Landscape(
            name="inflection",
            formula="x⁴ - 4/3 x³",
            function=_inflection,
            minima=((1.0,),),
            window=((-1.2, 1.9),),
            starts=((-0.6,), (0.05,)),
            steps=80,
            lesson="At 0 the slope is 0, and falls on beyond it: SGD stops short of a minimum.",
            source="the least polynomial with a flat inflection point above its minimum",
        ),
        Landscape(
            name="saddle",
            formula="x² - y²",
            function=_saddle,
            minima=(),
            window=((-2, 2), (-2, 2)),
            starts=((-1.5, 1e-3), (-1.5, 0.0)),
            steps=45,
            lesson="On the axis nothing leaves the saddle; started beside it, some do sooner.",
            source="the saddle of Dauphin et al. (2014); it has no bottom, paths leave the window",
        ),
        Landscape(
            name="bounded-saddle",
            formula="x² - y² + y⁴/4",
            function=_bounded_saddle,
            minima=((0.0, math.sqrt(2)), (0.0, -math.sqrt(2))),
            window=((-2, 2), (-2, 2)),
            starts=((-1.5, 1e-3), (-1.5, 0.0)),
            steps=80,
            lesson="The same saddle with a valley on either side, one unit below it.",
            source="x² - y² with y⁴/4 added, which gives it minima at y = ±√2",
        ),
        Landscape(
            name="plateau",
            formula="1 - exp(-(x² + y²)/2)",
            function=_plateau,
            minima=((0.0, 0.0),),
            window=((-5, 5), (-4, 4)),
            starts=((-3.0, 2.0), (2.0, 3.0)),
            steps=60,
            lesson="Hardly any slope: SGD crawls, steps with a length of their own walk.",
            source="an upside-down Gaussian; at the first start the slope is 0.0054",
        ),
        Landscape(
            name="beale",
            formula="(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²",
            function=_beale,
            minima=((3.0, 0.5),),
            window=((-1, 4.5), (-2, 2)),
            starts=((1.0, 1.0), (0.5, -1.5), (1.0, 1.5)),
            steps=200,
            lesson="A long flat valley between steep walls.",
            source="Beale (1958); Moré, Garbow & Hillstrom (1981), problem 5",
        ),
        Landscape(
            name="rosenbrock",
            formula="(1 - x)² + 100 (y - x²)²",
            function=_rosenbrock,
            minima=((1.0, 1.0),),
            window=((-2, 2), (-1, 3)),
            starts=((-1.2, 1.0), (-1.5, -0.5)),
            steps=300,
            lesson="Into the curved valley at once, along it hardly at all.",
            source="Rosenbrock (1960); Moré, Garbow & Hillstrom (1981), problem 1",
        ),
        Landscape(
            name="rastrigin",
            formula="20 + x² - 10 cos 2πx + y² - 10 cos 2πy",
            function=_rastrigin,
            minima=((0.0, 0.0),),
            window=((-5.12, 5.12), (-5.12, 5.12)),
            starts=((-3.3, 2.4), (4.4, -4.6)),
            steps=100,
            lesson="A local minimum at every crossing: where a path ends is where it got caught.",
            source="Rastrigin (1974); Mühlenbein, Schomisch & Born (1991)",
        ),
        Landscape(
            name="abs",
            formula="|x|",
            function=_abs,
            minima=((0.0,),),
            window=((-3, 3),),
            starts=((2.5,), (-1.0,)),
            steps=60,
            lesson="The slope is as large beside the minimum as far from it: steps must shrink.",
            source="the simplest convex function with a kink",
        ),
        Landscape(
            name="abs10",
            formula="|x - 10|",
            function=_abs10,
            minima=((10.0,),),
            window=((-2, 22),),
            starts=((0.0,), (20.0,)),
            steps=120,
            lesson="COCOB has no learning rate and finds its step by itself.",
            source="Orabona & Tommasi (2017), figure 2",
        ),
        Landscape(
            name="sinc",
            formula="10 sin(x)/x",
            function=_sinc,
            minima=tuple((sign * x,) for x in SINC_MINIMA for sign in (1, -1)),
            window=((-4, 13),),
            starts=((2.0,), (7.0,)),
            steps=60,
            lesson="SGD: lr 0.01 descends, 1.1 ends in a swing between two points, 1.2 among four.",
            source="the source notes of this project; unnormalised sinc",
        ),
    )
}

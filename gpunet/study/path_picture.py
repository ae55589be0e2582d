"""Paths over a landscape as one picture: over its contours, or, of one variable, on its curve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.colours import GREY
from gpunet.study import pictures
from gpunet.study.contours import heights, levels
from gpunet.study.landscapes import Landscape
from gpunet.study.paths import Descent, best, longest_first
from gpunet.study.styles import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = (161, 121)
DOTTED = 130  # points; a path of more shows no single ones
FAR = 20.0  # windows away: beyond it a point's distance no longer shows, and may overflow


def save_picture(
    landscape: Landscape, paths: Sequence[Descent], path: str | os.PathLike[str]
) -> None:
    """Draw and write (.png, .svg or .pdf), atomically. ImportError without matplotlib."""
    pictures.save_figure(draw_paths(landscape, paths), path)


def draw_paths(landscape: Landscape, paths: Sequence[Descent]) -> Figure:
    """The matplotlib figure. A ring is the start, a full dot the end, a star a minimum."""
    rows = -(-len(paths) // 2)  # of the legend
    figure = pictures.new_figure(7.2, (5.0 if landscape.dim == 2 else 5.8) + 0.2 * rows)
    draw = _over_contours if landscape.dim == 2 else _on_curve
    axes = draw(figure, landscape, longest_first(paths))
    axes.set_title(f"{landscape.name}: {landscape.formula}\n", fontsize=12)
    axes.text(0.5, 1.02, landscape.lesson, transform=axes.transAxes, ha="center", fontsize=9)
    _legend(figure, landscape, paths)
    return figure


def _over_contours(figure: Figure, landscape: Landscape, paths: Sequence[Descent]) -> Axes:
    axes = figure.subplots()
    values = heights(landscape, *GRID)
    x, y = (np.linspace(*ends, n) for ends, n in zip(landscape.window, GRID, strict=True))
    pictures.draw_bands(axes, x, y, values, levels(values))
    for path in paths:
        _draw(axes, _near(path.points, landscape), path, path in best(paths))
    _stars(axes, landscape.minima)
    axes.set(xlim=landscape.window[0], ylim=landscape.window[1], xlabel="x", ylabel="y")
    return axes


def _on_curve(figure: Figure, landscape: Landscape, paths: Sequence[Descent]) -> Axes:
    """Above the curve with the points, below it the variable over the steps, downwards."""
    above: Axes
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    x = np.linspace(*landscape.window[0], 1001)
    curve = landscape(x[:, None])
    above.plot(x, curve, color=GREY, linewidth=1)
    for path in paths:
        points = _near(path.points, landscape)
        on_curve = np.column_stack([points, landscape(points)])
        _draw(above, on_curve, path, path in best(paths), chords=True)
        over_steps = np.column_stack([points, np.arange(len(points))])
        _draw(below, over_steps, path, path in best(paths))
    _stars(above, [(*m, landscape.value(m)) for m in landscape.minima])
    room = 0.08 * (curve.max() - curve.min())
    above.set(ylabel="f(x)", ylim=(curve.min() - room, curve.max() + room))
    below.set(xlabel="x", ylabel="step", xlim=landscape.window[0])
    below.invert_yaxis()
    for axes in (above, below):
        pictures.bare(axes)
    return above


def _near(points: Any, landscape: Landscape) -> Any:
    """The points, those very far outside the window brought to its neighbourhood."""
    low, high = np.array(landscape.window).T
    return np.clip(points, low - FAR * (high - low), high + FAR * (high - low))


def _draw(axes: Axes, points: Any, path: Descent, shown: bool, chords: bool = False) -> None:
    """The line with its points; `chords`, between points of a curve, stay faint. Pale if it is
    not `shown`.
    """
    if not shown:
        axes.plot(*points.T, **pictures.pale())
        return
    line = style(path.optimizer).line()
    if not chords:
        axes.plot(*points.T, color="white", linewidth=3, alpha=0.7)
    axes.plot(*points.T, **line, alpha=0.35 if chords else 1)
    dots = {"color": line["color"], "linestyle": "", "marker": "o"}
    if len(points) <= DOTTED:
        axes.plot(*points.T, markersize=3, **dots)
    axes.plot(*points[0], markersize=9, markerfacecolor="none", zorder=4, **dots)
    axes.plot(*points[-1], markersize=8, markeredgecolor="white", zorder=4, **dots)


def _legend(figure: Figure, landscape: Landscape, paths: Sequence[Descent]) -> None:
    from matplotlib.lines import Line2D

    shown = [p for p in paths if p in best(paths)]
    lines = [Line2D([], [], **style(p.optimizer).line()) for p in shown]
    labels = [describe(p, landscape) for p in shown]
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "handlelength": 3}
    pale = [style(p.optimizer).label for p in paths if p not in shown]
    look |= pictures.behind(pale)
    figure.legend(lines, labels, loc="outside lower center", ncols=2, **look)


def _stars(axes: Axes, points: Sequence[Sequence[float]]) -> None:
    for point in points:
        axes.plot(*point, "*", markersize=10, color="black", markeredgecolor="white", zorder=5)


def describe(path: Descent, landscape: Landscape) -> str:
    """ "SGD, lr 0.95: f = 0.0017", and what else is to be said of where it ended."""
    rate = "no lr" if path.lr is None else f"lr {path.lr:g}"
    if path.diverged:
        end = f"diverged after {len(path)} steps"
    else:
        end = f"f = {path.values[-1]:.3g}" + (", outside" if outside(path, landscape) else "")
    return f"{style(path.optimizer).label}, {rate}: {end}"


def outside(path: Descent, landscape: Landscape) -> bool:
    """Whether the path ends outside the window."""
    low, high = np.array(landscape.window).T
    return bool(((path.points[-1] < low) | (path.points[-1] > high)).any())

"""A sweep as a picture: for each setting that was varied, what each of its values led to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gpunet.colours import COLOURS, GREY
from gpunet.study import pictures
from gpunet.study.sweeping import Sweep, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.4, 3.6  # inches of a panel
CUT = 3.0  # losses above so many times the median are cut off


def encode_sweep(sweep: Sweep, title: str) -> dict[str, bytes]:
    """sweep.png and sweep.svg, the same for the same sweep. ImportError without matplotlib."""
    return pictures.encode_both(lambda: draw_sweep(sweep, title), "sweep")


def draw_sweep(sweep: Sweep, title: str) -> Figure:
    """The matplotlib figure: a point a network, and a line through the best that each value leads
    to, where all other settings are chosen well (the mean over the seeds).
    """
    names = list(sweep.varied)
    figure = pictures.new_figure(max(5.0, WIDTH * len(names)), HEIGHT)
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        _panel(axes, sweep, name)
    losses = sorted(o.loss for o in sweep.outcomes if math.isfinite(o.loss))
    if losses and losses[0] > 0:
        pictures.by_ratios(panels[0])
        panels[0].set_ylim(top=min(losses[-1], CUT * losses[len(losses) // 2]) * 1.1)
    panels[0].set(ylabel="lowest validation loss")
    pictures.entitle(figure, title)
    return figure


def _panel(axes: Axes, sweep: Sweep, name: str) -> None:
    values = list(sweep.varied[name])
    places = {value: place for place, value in enumerate(values)}
    by_size = all(isinstance(v, (int, float)) and v > 0 for v in values) and len(values) > 1
    at: Any = (lambda value: value) if by_size else places.__getitem__
    points = [(at(o.settings[name]), o.loss) for o in sweep.outcomes if math.isfinite(o.loss)]
    if points:
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=12, color=GREY, alpha=0.6, linewidths=0)
    line = [(at(value), loss) for value, loss in sweep.along(name) if math.isfinite(loss)]
    if line:
        axes.plot(*zip(*line, strict=True), color=COLOURS[0], marker="o", markersize=4)
    if by_size:
        axes.set_xscale("log")
    else:
        axes.set_xticks(range(len(values)), [shown(value) for value in values])
    axes.set(xlabel=name.replace("_", " "))
    axes.grid(alpha=0.25)
    pictures.bare(axes)

"""What a Probe saw as one figure, with matplotlib: histograms, gradient norms, update ratios."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gpunet.colours import GREY
from gpunet.study import pictures
from gpunet.study.probe_look import Look, epochs_of, layers_of, looks_at
from gpunet.study.styles import SHOWN, ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
TIMES = 4  # epochs in a histogram
USUAL = 1e-3  # of an update by its weights
Item = TypeVar("Item")
HEIGHTS = 1.9, 3.4  # inches of a row of histograms, and of the lines below


def save_picture(looks: Sequence[Look], path: str | os.PathLike[str]) -> None:
    """Draw and write, atomically. ImportError without matplotlib; ValueError without a look."""
    if not looks:
        raise ValueError("Probe saw nothing yet: give it to a Trainer as a callback, then fit")
    pictures.save_figure(draw_looks(looks), path)


def draw_looks(looks: Sequence[Look]) -> Figure:
    """The matplotlib figure: a histogram for each layer, from the first epoch (light) to the last
    (dark), and below the gradient norms and the update ratios over the epochs.
    """
    rows = math.ceil(len(layers_of(looks)) / COLUMNS)
    heights = HEIGHTS[0] * rows, HEIGHTS[1]
    figure = pictures.new_figure(11, sum(heights) + 0.2)
    above, below = figure.subfigures(2, squeeze=False, height_ratios=heights).flat
    _histograms(above, looks, rows)
    _lines(below, looks)
    return figure


def _histograms(figure: Figure, looks: Sequence[Look], rows: int) -> None:
    """A panel for each layer, with the same few epochs in each."""
    figure.suptitle("outputs, share of rows and units", fontsize=10)
    layers, epochs = layers_of(looks), _spread(epochs_of(looks), TIMES)
    colours = dict(zip(epochs, ramp(len(epochs)), strict=True))
    figure.subplots(rows, COLUMNS)
    for panel, layer in zip(figure.axes, layers, strict=False):
        own = looks_at(looks, layer)
        _histogram(panel, [look for look in own if look.epoch in colours], colours)
    for panel in figure.axes[len(layers) :]:
        panel.set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)


def _histogram(axes: Axes, looks: list[Look], colours: dict[int, Any]) -> None:
    for look in looks:
        axes.stairs(
            look.counts / max(int(look.counts.sum()), 1),
            look.edges,
            color=colours[look.epoch],
            linewidth=1.2,
            label=f"epoch {look.epoch}" if look.epoch else "at the start",
        )
    last = looks[-1]
    axes.set_title(f"{last.layer} {last.kind}, {last.zeros:.0%} zeros", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_yscale("log")
    pictures.bare(axes)


def _lines(figure: Figure, looks: Sequence[Look]) -> None:
    """Left the gradient norms, right the update ratios, a line for each layer."""
    from matplotlib.ticker import MaxNLocator

    left, right = figure.subplots(1, 2)
    layers = layers_of(looks)
    shown = _spread(layers, SHOWN)
    colours = dict(zip(shown, ramp(len(shown)), strict=True))
    for layer in layers:
        own = looks_at(looks, layer)
        look = {"color": colours[layer]} if layer in colours else pictures.pale()
        look["label"] = f"{layer} {own[0].kind}" if layer in colours else "_"
        _line(left, [(one.epoch, one.gradient) for one in own], look)
        _line(right, [(one.epoch, one.update) for one in own], look)
    left.set(xlabel="epoch", ylabel="gradient norm at the output")
    right.axhline(USUAL, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    right.set(xlabel="epoch", ylabel="update / weights")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(which="both", labelsize=8)
    handles, labels = left.get_legend_handles_labels()
    pale = {"title": "pale: the others", "title_fontsize": 8} if layers[SHOWN:] else {}
    look = {"frameon": False, "fontsize": 8, **pale}
    figure.legend(handles, labels, loc="outside right center", **look)


def _line(axes: Axes, points: list[tuple[int, float]], look: dict[str, Any]) -> None:
    known = [(epoch, v) for epoch, v in points if math.isfinite(v) and v > 0]
    if known:
        marker = "o" if len(known) < 3 else None
        axes.plot(*zip(*known, strict=True), marker=marker, **look)
        pictures.by_ratios(axes)
    pictures.bare(axes)


def _spread(items: list[Item], count: int) -> list[Item]:
    """At most `count`: the first, the last, and a few between."""
    if len(items) <= count:
        return items
    return [items[round(k * (len(items) - 1) / (count - 1))] for k in range(count)]

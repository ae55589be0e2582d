"""What a Probe saw as one figure, with matplotlib: histograms, gradient norms, update ratios."""

from __future__ import annotations

import math
import os
from typing import Any

from gpunet.study import pictures
from gpunet.study.look import Look
from gpunet.study.styles import GREY

Probe = Any  # of gpunet.study.probe, which imports this module

COLUMNS = 4
SHOWN = 4  # epochs in a histogram
NAMED = 16  # layers in the legend of the lines
USUAL = 1e-3  # of an update by its weights


def save_picture(probe: Probe, path: str | os.PathLike[str]) -> None:
    """Draw and write, atomically. ImportError without matplotlib; ValueError with nothing seen."""
    if not probe.looks:
        raise ValueError("Probe saw nothing yet: give it to a Trainer as a callback, then fit")
    pictures.save_figure(draw_probe(probe), path)


def draw_probe(probe: Probe) -> Any:
    """The matplotlib figure: a histogram for each layer, from the first epoch (light) to the last
    (dark), and below the gradient norms and the update ratios over the epochs.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    layers = probe.layers
    rows = math.ceil(len(layers) / COLUMNS)
    figure = pictures.new_figure(11, 1.9 * rows + 3.6)
    above, below = figure.subfigures(2, height_ratios=(1.9 * rows, 3.4))
    above.suptitle("outputs, share of rows and units", fontsize=10)
    panels = above.subplots(rows, COLUMNS, squeeze=False).flat
    epochs = _chosen(probe.epochs)
    shades = colormaps["viridis_r"]
    colours = {e: shades(0.15 + 0.8 * k / max(len(epochs) - 1, 1)) for k, e in enumerate(epochs)}
    for panel, layer in zip(panels, layers, strict=False):
        _histograms(panel, [look for look in probe.of(layer) if look.epoch in colours], colours)
    for panel in above.axes[len(layers) :]:
        panel.set_visible(False)
    handles, labels = above.axes[0].get_legend_handles_labels()
    above.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    left, right = below.subplots(1, 2)
    depth = colormaps["plasma"]
    for k, layer in enumerate(layers):
        colour = depth(0.9 * k / max(len(layers) - 1, 1))
        looks = probe.of(layer)
        label = f"{layer} {looks[0].kind}"
        _line(left, looks, [look.gradient for look in looks], colour, label)
        _line(right, looks, [look.update for look in looks], colour, label)
    left.set(xlabel="epoch", ylabel="gradient norm at the output")
    right.axhline(USUAL, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    right.set(xlabel="epoch", ylabel="update / weights")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(which="both", labelsize=8)
    if len(layers) <= NAMED:
        below.legend(
            *left.get_legend_handles_labels(),
            loc="outside right center",
            frameon=False,
            fontsize=8,
        )
    return figure


def _histograms(axes: Any, looks: list[Look], colours: dict[int, Any]) -> None:
    for look in looks:
        total = max(int(look.counts.sum()), 1)
        axes.stairs(
            look.counts / total,
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


def _line(axes: Any, looks: list[Look], values: list[float], colour: Any, label: str) -> None:
    points = [
        (k.epoch, v) for k, v in zip(looks, values, strict=True) if math.isfinite(v) and v > 0
    ]
    if points:
        marker = "o" if len(points) < 3 else None
        axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker)
        axes.set_yscale("log")
    pictures.bare(axes)


def _chosen(epochs: list[int]) -> list[int]:
    """The first, the last, and a few between."""
    if len(epochs) <= SHOWN:
        return epochs
    last = len(epochs) - 1
    return [epochs[round(k * last / (SHOWN - 1))] for k in range(SHOWN)]

"""A training as a picture: losses, and accuracy if there is any, over the epochs."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from gpunet.colours import COLOURS
from gpunet.study import pictures
from gpunet.train.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSSES = {"train_loss": ("training", COLOURS[0]), "valid_loss": ("validation", COLOURS[1])}
ACCURACY = COLOURS[2]
LOG_FROM = 10.0  # largest loss by smallest, from which equal steps of the axis are equal ratios
FEW = 3  # epochs; fewer are shown as points


def save_curves(history: History, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw and write (.png, .svg or .pdf), atomically.

    ImportError, saying how to get it, without matplotlib.
    """
    pictures.save_figure(draw_curves(history, title), path)


def draw_curves(history: History, title: str = "") -> Figure:
    """The matplotlib figure."""
    accuracy = "valid_accuracy" in history.columns
    figure = pictures.new_figure(9 if accuracy else 5, 3.6)
    panels = figure.subplots(1, 2 if accuracy else 1, squeeze=False)[0]
    _losses(panels[0], history)
    if accuracy:
        percent = [100 * v for v in _numbers(history, "valid_accuracy")]
        _curve(panels[1], history, percent, color=ACCURACY)
        panels[1].set(ylabel="validation accuracy, %")
    for axes in panels:
        _epochs(axes, history["epoch"])
    if title:
        pictures.entitle(figure, title)
    return figure


def _losses(axes: Axes, history: History) -> None:
    """By ratios where they fall far; from 0 where that says more."""
    shown = {name: _numbers(history, name) for name in LOSSES if name in history.columns}
    for name, values in shown.items():
        label, colour = LOSSES[name]
        _curve(axes, history, values, color=colour, label=label)
    axes.set(ylabel="loss")
    known = [v for values in shown.values() for v in values if math.isfinite(v)]
    if known and min(known) > 0 and max(known) > LOG_FROM * min(known):
        pictures.by_ratios(axes)
    elif known and min(known) >= 0:
        axes.set_ylim(0, None)
    if shown:
        axes.legend(frameon=False)


def _curve(axes: Axes, history: History, values: list[float], **look: Any) -> None:
    epochs = history["epoch"]
    axes.plot(epochs, values, marker="o" if len(epochs) < FEW else None, **look)


def _epochs(axes: Axes, epochs: list[int]) -> None:
    """The lower axis: whole numbers only."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    whole = MaxNLocator(integer=True, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(FixedLocator(epochs) if len(epochs) < FEW else whole)
    axes.set(xlabel="epoch")
    axes.grid(alpha=0.25)
    pictures.bare(axes)


def _numbers(history: History, name: str) -> list[float]:
    return [math.nan if value is None else value for value in history[name]]

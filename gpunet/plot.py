"""Pictures of a training, with matplotlib (the `plot` extra), which loads when one is drawn."""

from __future__ import annotations

import importlib
import io
import math
import os

from gpunet.files import write_atomically
from gpunet.train.history import History

LOSSES = {"train_loss": ("training", "#4477aa"), "valid_loss": ("validation", "#ee6677")}
LOG_FROM = 10.0  # largest loss by smallest, from which equal steps of the axis are equal ratios


def can_plot() -> bool:
    """True if matplotlib is there and works: one built for another NumPy may not import."""
    try:
        importlib.import_module("matplotlib.figure")
    except Exception:
        return False
    return True


def save_curves(history: History, path: str | os.PathLike[str], title: str = "") -> None:
    """Losses, and accuracy if there is any, over the epochs, as a PNG written atomically.

    ImportError, saying how to get it, without matplotlib.
    """
    if not can_plot():
        raise ImportError("pictures need matplotlib: pip install 'gpunet[plot]'")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, MaxNLocator

    accuracy = "valid_accuracy" in history.columns
    figure = Figure(figsize=(9 if accuracy else 5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if accuracy else 1, squeeze=False)[0]
    epochs = history["epoch"]
    few = len(epochs) < 3
    marker = "o" if few else None
    shown = [name for name in LOSSES if name in history.columns]
    for name in shown:
        label, colour = LOSSES[name]
        axes[0].plot(epochs, _numbers(history, name), color=colour, label=label, marker=marker)
    axes[0].set(xlabel="epoch", ylabel="loss")
    losses = [v for name in shown for v in _numbers(history, name) if math.isfinite(v)]
    if losses and min(losses) > 0 and max(losses) > LOG_FROM * min(losses):
        axes[0].set_yscale("log")
        axes[0].yaxis.set_major_formatter("{x:g}")
    elif losses and min(losses) >= 0:
        axes[0].set_ylim(0, None)
    if shown:
        axes[0].legend(frameon=False)
    if accuracy:
        percent = [100 * v for v in _numbers(history, "valid_accuracy")]
        axes[1].plot(epochs, percent, color="#228833", marker=marker)
        axes[1].set(xlabel="epoch", ylabel="validation accuracy, %")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        whole = MaxNLocator(integer=True, steps=[1, 2, 5, 10])
        axis.xaxis.set_major_locator(FixedLocator(epochs) if few else whole)
    if title:
        figure.suptitle(title.replace("$", r"\$"))  # a file's name is no formula
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, buffer.getvalue())


def _numbers(history: History, name: str) -> list[float]:
    return [math.nan if value is None else value for value in history[name]]

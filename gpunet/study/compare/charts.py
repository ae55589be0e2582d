"""The two charts as one picture, with matplotlib (the `plot` extra), which loads when it draws."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from gpunet.files import write_atomically
from gpunet.study.compare.curves import ceiling, curve, rate_span, sensitivity
from gpunet.study.compare.style import style
from gpunet.study.compare.summary import Comparison, Summary
from gpunet.study.compare.table import rate


def save_pictures(comparison: Comparison, title: str, folder: Path) -> list[Path]:
    """Write compare.png and compare.svg; the same comparison gives the same files.

    ImportError without matplotlib.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "gpunet", "svg.fonttype": "path"}):
        figure = Figure(figsize=(11, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, comparison, title)
        for kind, unstamped in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=110, metadata=unstamped)
            paths.append(folder / f"compare.{kind}")
            write_atomically(paths[-1], buffer.getvalue())
    return paths


def _draw(figure: Any, comparison: Comparison, title: str) -> None:
    left, right = figure.subplots(1, 2)
    for summary in comparison.summaries:
        _draw_curve(left, summary)
        _draw_rates(right, summary, comparison)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_ylim(top=ceiling(comparison))
        axes.grid(which="major", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    left.set(xlabel="epoch", ylabel="validation loss", title="At each one's best learning rate")
    left.xaxis.get_major_locator().set_params(integer=True)
    right.set(
        xscale="log",
        xlabel="learning rate",
        ylabel="lowest validation loss",
        title="How much the learning rate matters",
    )
    figure.suptitle(title)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=3.2
    )


def _draw_curve(axes: Any, summary: Summary) -> None:
    points = curve(summary, "valid_loss")
    lr = "" if summary.best.lr is None else f" ({rate(summary.best.lr)})"
    axes.plot(
        [p.x for p in points],
        [p.mean for p in points],
        label=summary.name + lr,
        **_line(summary),
    )


def _draw_rates(axes: Any, summary: Summary, comparison: Comparison) -> None:
    points = sensitivity(summary)
    if summary.best.lr is None:
        axes.plot(rate_span(comparison), [points[0].mean] * 2, **_line(summary))
        return
    axes.plot([p.x for p in points], [p.mean for p in points], **_line(summary))
    axes.plot(summary.best.lr, summary.best.loss.mean, "o", color=style(summary.optimizer).light)


def _line(summary: Summary) -> dict[str, Any]:
    how = style(summary.optimizer)
    return {
        "color": how.light,
        "linestyle": (0, tuple(n / 1.6 for n in how.dash)) if how.dash else "-",
        "linewidth": 1.6,
    }

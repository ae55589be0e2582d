"""The two charts as one picture, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpunet.study import pictures
from gpunet.study.compare.comparison import Comparison, OptimizerSummary
from gpunet.study.compare.curves import ceiling, curve, rate_span, sensitivity
from gpunet.study.compare.table import rate
from gpunet.study.styles import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def encode_comparison(comparison: Comparison, title: str) -> dict[str, bytes]:
    """compare.png and compare.svg; the same comparison gives the same files.

    ImportError without matplotlib.
    """
    figure = draw_comparison(comparison, title)
    return {f"compare.{end}": pictures.encode_figure(figure, end) for end in ("png", "svg")}


def draw_comparison(comparison: Comparison, title: str) -> Figure:
    """The matplotlib figure: left the curves, right the loss over the learning rate."""
    figure = pictures.new_figure(11, 5.6)
    left, right = figure.subplots(1, 2)
    for summary in comparison.summaries:
        _draw_curve(left, summary)
        _draw_rates(right, summary, comparison)
    for axes in (left, right):
        pictures.by_ratios(axes)
        axes.set_ylim(top=ceiling(comparison))
        axes.grid(which="major", alpha=0.25)
        pictures.bare(axes)
    left.set(xlabel="epoch", ylabel="validation loss", title="At each one's best learning rate")
    left.xaxis.get_major_locator().set_params(integer=True)
    right.set(
        xscale="log",
        xlabel="learning rate",
        ylabel="lowest validation loss",
        title="How much the learning rate matters",
    )
    pictures.entitle(figure, title)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, handlelength=3.2
    )
    return figure


def _draw_curve(axes: Axes, summary: OptimizerSummary) -> None:
    points = curve(summary, "valid_loss")
    lr = "" if summary.best.lr is None else f" ({rate(summary.best.lr)})"
    axes.plot(
        [p.x for p in points],
        [p.mean for p in points],
        label=summary.name + lr,
        **style(summary.optimizer).line(),
    )


def _draw_rates(axes: Axes, summary: OptimizerSummary, comparison: Comparison) -> None:
    points = sensitivity(summary)
    if summary.best.lr is None:
        axes.plot(rate_span(comparison), [points[0].mean] * 2, **style(summary.optimizer).line())
        return
    axes.plot([p.x for p in points], [p.mean for p in points], **style(summary.optimizer).line())
    axes.plot(summary.best.lr, summary.best.loss.mean, "o", color=style(summary.optimizer).light)

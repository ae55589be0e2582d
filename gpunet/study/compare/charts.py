"""The two charts as one picture, with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpunet.study import pictures
from gpunet.study.compare.comparison import Comparison, OptimizerSummary
from gpunet.study.compare.curves import ceiling, curve, rate_span, sensitivity
from gpunet.study.compare.table import rate
from gpunet.study.styles import SHOWN, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def encode_comparison(comparison: Comparison, title: str) -> dict[str, bytes]:
    """compare.png and compare.svg; the same comparison gives the same files.

    ImportError without matplotlib.
    """
    return pictures.encode_both(lambda: draw_comparison(comparison, title), "compare")


def draw_comparison(comparison: Comparison, title: str) -> Figure:
    """The matplotlib figure: left the curves, right the loss over the learning rate. Of more than
    eight optimizers the others are pale.
    """
    figure = pictures.new_figure(11, 5.6)
    left, right = figure.subplots(1, 2)
    pale = comparison.summaries[SHOWN:]
    for summary in comparison.summaries:
        look = pictures.pale() if summary in pale else style(summary.optimizer).line()
        _draw_curve(left, summary, look)
        _draw_rates(right, summary, comparison, look)
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
        handles[:SHOWN],
        labels[:SHOWN],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        handlelength=3.2,
        **pictures.behind(summary.name for summary in pale),
    )
    return figure


def _draw_curve(axes: Axes, summary: OptimizerSummary, look: dict[str, Any]) -> None:
    points = curve(summary, "valid_loss")
    lr = "" if summary.best.lr is None else f" ({rate(summary.best.lr)})"
    axes.plot(
        [p.x for p in points],
        [p.mean for p in points],
        label=summary.name + lr,
        **look,
    )


def _draw_rates(
    axes: Axes, summary: OptimizerSummary, comparison: Comparison, look: dict[str, Any]
) -> None:
    points = sensitivity(summary)
    if summary.best.lr is None:
        axes.plot(rate_span(comparison), [points[0].mean] * 2, **look)
        return
    axes.plot([p.x for p in points], [p.mean for p in points], **look)
    dot = {"color": look["color"], "alpha": look.get("alpha"), "zorder": look.get("zorder", 2)}
    axes.plot(summary.best.lr, summary.best.loss.mean, "o", **dot)

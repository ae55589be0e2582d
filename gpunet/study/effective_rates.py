"""The learning rate that each weight really gets, step by step: step over gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.optim import OPTIMIZERS
from gpunet.study import pictures
from gpunet.study.landscapes import Landscape
from gpunet.study.paths import Descent, descend
from gpunet.study.styles import style
from gpunet.study.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = "xy"
ADAPTIVE = (
    "sgd",
    "adagrad",
    "rmsprop",
    "adadelta",
)  # those whose step is a rate times the gradient
STEPS = 150


class EffectiveRates(NamedTuple):
    """The paths of some optimizers over one landscape, for their `effective_lr` (steps, dim)."""

    landscape: Landscape
    paths: list[Descent]

    def table(self) -> Table:
        """A row for each weight and optimizer."""
        rows = []
        for k, axis in enumerate(AXES[: self.landscape.dim]):
            for path in self.paths:
                rate = rates(path)[:, k]
                rate = rate[np.isfinite(rate)]
                rises = int(np.count_nonzero(np.diff(rate) > 1e-6 * rate[:-1]))
                name = OPTIMIZERS[path.optimizer].__name__
                rows.append((axis, name, rate[0], rate.min(), rate[-1], rises))
        return Table(
            f"{self.landscape.name} {self.landscape.formula}: step / gradient of each weight",
            ("weight", "optimizer", "first", "lowest", "last", "rises"),
            rows,
            "AdaGrad's only falls. RMSProp's rises again when the gradients get small.",
            words=2,
        )

    def draw(self) -> Figure:
        """A panel for each weight, a line for each optimizer. ImportError without matplotlib."""
        figure = pictures.new_figure(4.6 * self.landscape.dim, 3.6)
        for k, axes in enumerate(figure.subplots(1, self.landscape.dim, squeeze=False)[0]):
            for path in self.paths:
                rate = rates(path)[:, k]
                look = style(path.optimizer)
                axes.plot(np.arange(1, len(rate) + 1), rate, label=look.label, **look.line())
            axes.set(xlabel="step", title=f"weight {AXES[k]}")
            pictures.by_ratios(axes)
            pictures.bare(axes)
        figure.axes[0].set_ylabel("effective rate: step / gradient")
        lines, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside lower center", ncols=4, frameon=False)
        return figure


def rates(path: Descent) -> np.ndarray[Any, Any]:
    """`path.effective_lr`; nan where a step is so short that rounding is most of it."""
    short = np.abs(path.steps) < 1e-8 * np.abs(path.points[1:])
    return np.where(short, np.nan, path.effective_lr)


def effective_rates(
    landscape: Landscape, optimizers: Sequence[str], steps: int = STEPS
) -> EffectiveRates:
    """Walk each of them over the landscape at its default rate there.

    With momentum a step has more reasons than the gradient, and the quotient says little:
    ValueError for an optimizer outside `ADAPTIVE`.
    """
    for name in optimizers:
        if name not in ADAPTIVE:
            raise ValueError(
                f"{name}'s steps are no rate times the gradient; there are {', '.join(ADAPTIVE)}"
            )
    return EffectiveRates(landscape, [descend(landscape, n, steps=steps) for n in optimizers])

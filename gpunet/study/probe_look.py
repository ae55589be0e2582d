"""What a Probe writes down of one layer at one time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gpunet.study.columns import aligned

Host: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Look:
    """One layer, once: nan where something has no meaning.

    mean, spread: of the output, spread being the standard deviation. zeros: the share of outputs
    that are 0. dead: the share of units that are 0 for every row. saturated: the share of a
    Sigmoid's or Tanh's outputs where its slope is below a tenth of the steepest.
    parameters: elements of the layer's own parameters.
    gradient: 2-norm of the loss's gradient with respect to the output. parameter_gradient: to the
    layer's own parameters. update: 2-norm of the change that the optimizer would make to the
    parameters, by that of the parameters; about 1e-3 is common.
    counts, edges: the histogram of the outputs.
    """

    epoch: int
    layer: str
    kind: str
    mean: float
    spread: float
    zeros: float
    dead: float
    saturated: float
    parameters: int
    gradient: float
    parameter_gradient: float
    update: float
    counts: Host
    edges: Host


def layers_of(looks: Sequence[Look]) -> list[str]:
    """The names of the layers, in the order in which they are called."""
    return list(dict.fromkeys(look.layer for look in looks))


def epochs_of(looks: Sequence[Look]) -> list[int]:
    return list(dict.fromkeys(look.epoch for look in looks))


def looks_at(looks: Sequence[Look], layer: str) -> list[Look]:
    """Those at one layer. KeyError for an unknown name."""
    found = [look for look in looks if look.layer == layer]
    if not found:
        raise KeyError(f"no layer {layer!r}; there are {', '.join(layers_of(looks))}")
    return found


HEAD = ("layer", "kind", "mean", "spread", "zeros", "gradient", "of parameters", "update")


def table(looks: Sequence[Look]) -> str:
    """A line a look."""
    return "\n".join(aligned([HEAD, *(_cells(look) for look in looks)], words=2))


def _cells(look: Look) -> tuple[str, ...]:
    norms = (look.gradient, look.parameter_gradient, look.update)
    return (
        look.layer,
        look.kind,
        f"{look.mean:.3g}",
        f"{look.spread:.3g}",
        f"{look.zeros:.0%}",
        *("" if math.isnan(v) else f"{v:.2e}" for v in norms),
    )

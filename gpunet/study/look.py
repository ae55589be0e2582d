"""What a Probe writes down of one layer at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

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

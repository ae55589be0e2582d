"""One stage of BatchNorm's graph, as it was walked through."""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.backend import Array

CLOSED_FORM = "dx = gamma / (B r) (B dy - sum dy - n sum(dy n)), dgamma = sum dy n, dbeta = sum dy"


@dataclass(frozen=True)
class Stage:
    """A value on the way, and the gradient of the loss with respect to it.

    formula, back: how value and gradient are computed, from which neighbours.
    """

    name: str
    formula: str
    value: Array
    back: str
    gradient: Array

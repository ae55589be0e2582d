"""What follows the weighted sum of a fused block: activation and dropout, as kernels take them."""

from __future__ import annotations

from typing import NamedTuple

from gpunet import rng
from gpunet.layers import Dropout


class Drop(NamedTuple):
    """The mask of `functional.dropout` at `step` plus the counters' `call`; threshold 0 drops
    nothing.

    threshold: round(p * 65536). scale: of what is kept.
    """

    threshold: int = 0
    scale: float = 1.0
    seed: int = 0
    step: int = 0


NO_DROP = Drop()


class After(NamedTuple):
    """act: a row of `activations.TABLE` or None; alpha: its setting."""

    act: str | None
    drop: Drop
    alpha: float = 0.0


def next_drop(layer: Dropout | None) -> Drop:
    """The mask of its next training call, which is counted."""
    if layer is None:
        return NO_DROP
    step = layer.next_call()
    return Drop(rng.threshold(layer.p), rng.keep_scale(layer.p), layer.seed, step)

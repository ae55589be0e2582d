"""What follows the weighted sum of a fused block: activation and dropout, as kernels take them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet import rng
from gpunet.backend import Array
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

    def kept(self, shape: tuple[int, ...], call: int) -> Array:
        """Where an element is kept."""
        return rng.kept(shape, self.threshold, self.seed, (self.step + call) % 2**64)


NO_DROP = Drop()


class Drops:
    """The masks of several models, as one: threshold is the largest, scale (models, 1, 1)."""

    def __init__(self, each: Sequence[Drop], dtype: np.dtype[Any]) -> None:
        self.each, self.threshold = each, max(drop.threshold for drop in each)
        self.scale = np.array([drop.scale for drop in each], dtype)[:, None, None]
        self._kept: Array = None

    def kept(self, shape: tuple[int, ...], call: int) -> Array:
        """Where an element is kept, (models, rows, columns); made once, for the way back."""
        if self._kept is None:
            self._kept = np.ones(shape, np.bool_)
            for own, drop in zip(self._kept, self.each, strict=True):
                if drop.threshold:
                    own[...] = drop.kept(own.shape, call)
        return self._kept


class After(NamedTuple):
    """act: a row of `activations.TABLE` or None; alpha: its setting. drop: `Drops` of several
    models, which only on_numpy takes.
    """

    act: str | None
    drop: Drop
    alpha: float = 0.0


class Dropouts:
    """The Dropout layers at one place of several models. dtype: of what they are applied to."""

    def __init__(self, layers: list[Dropout], dtype: np.dtype[Any]) -> None:
        self.layers, self.dtype = layers, dtype

    def forget(self, k: int) -> None:
        """The k-th model goes on alone: a copy counts in its place."""
        self.layers[k] = copy.copy(self.layers[k])

    def next_drops(self) -> Drops:
        """The masks of their next training calls, which are counted."""
        return Drops([next_drop(layer) for layer in self.layers], self.dtype)


def next_drop(layer: Dropout | None) -> Drop:
    """The mask of its next training call, which is counted."""
    if layer is None:
        return NO_DROP
    step = layer.next_call()
    return Drop(rng.threshold(layer.p), rng.keep_scale(layer.p), layer.seed, step)

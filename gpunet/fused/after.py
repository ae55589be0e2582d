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

    @property
    def arguments(self) -> dict[str, Any]:
        """As the kernels' headers name it."""
        return {**self._asdict(), "drops": None}


NO_DROP = Drop()


class Table:
    """The numbers of the masks of several models on a GPU, brought there when they are others."""

    def __init__(self, cupy: Any, dtype: np.dtype[Any]) -> None:
        self._cupy, self._dtype = cupy, dtype
        self._told: list[Drop] = []
        self._rows: Array = None  # kept: a copy to the device may read it later
        self._placed: Array = None

    def __call__(self, each: Sequence[Drop]) -> Array:
        """uint64 (models, 4): threshold, seed, step from that of model 0 on, and the bits of
        scale in the dtype.
        """
        if each != self._told:
            self._told, self._rows = list(each), np.zeros((len(each), 4), np.uint64)
            self._rows[:, :3] = [(drop.threshold, drop.seed, drop.step) for drop in each]
            self._rows[:, 3:].view(self._dtype)[:, 0] = [drop.scale for drop in each]
            if self._placed is None:
                self._placed = self._cupy.empty(self._rows.shape, np.uint64)
            self._placed.set(self._rows)
        return self._placed


class Drops:
    """The masks of several models, as one: threshold is the largest, scale (models, 1, 1).

    table: where kernels find them.
    """

    def __init__(
        self, each: Sequence[Drop], dtype: np.dtype[Any], table: Table | None = None
    ) -> None:
        self.each, self.threshold = each, max(drop.threshold for drop in each)
        self.scale = np.array([drop.scale for drop in each], dtype)[:, None, None]
        self._kept: Array = None
        self._table = table

    @property
    def arguments(self) -> dict[str, Any]:
        """As the kernels' headers name them."""
        first = self.each[0].step
        each = [drop._replace(step=(drop.step - first) % 2**64) for drop in self.each]
        drops = self._table and self._table(each)
        return {**NO_DROP.arguments, "step": first, "drops": drops}

    def kept(self, shape: tuple[int, ...], call: int) -> Array:
        """Where an element is kept, (models, rows, columns); made once, for the way back."""
        if self._kept is None:
            self._kept = np.ones(shape, np.bool_)
            for own, drop in zip(self._kept, self.each, strict=True):
                if drop.threshold:
                    own[...] = drop.kept(own.shape, call)
        return self._kept


class After(NamedTuple):
    """act: a row of `activations.TABLE` or None; alpha: its setting."""

    act: str | None
    drop: Drop | Drops
    alpha: float = 0.0


def words_of(drops: Sequence[Drop]) -> Array:
    """As passes.h takes them: uint64 (drops, 3), threshold, seed and step."""
    return np.array([(d.threshold, d.seed, d.step % 2**64) for d in drops], np.uint64)


class Dropouts:
    """The Dropout layers at one place of several models. xp, dtype: of what they are applied to."""

    def __init__(self, layers: list[Dropout], dtype: np.dtype[Any], xp: Any) -> None:
        self.layers, self.dtype = layers, dtype
        self._table = None if xp is np else Table(xp, dtype)

    def forget(self, k: int) -> None:
        """The k-th model goes on alone: a copy counts in its place."""
        self.layers[k] = copy.copy(self.layers[k])

    def next_drops(self) -> Drops:
        """The masks of their next training calls, which are counted."""
        return Drops([next_drop(layer) for layer in self.layers], self.dtype, self._table)


def next_drop(layer: Dropout | None) -> Drop:
    """The mask of its next training call, which is counted."""
    if layer is None:
        return NO_DROP
    step = layer.next_call()
    return Drop(rng.threshold(layer.p), rng.keep_scale(layer.p), layer.seed, step)

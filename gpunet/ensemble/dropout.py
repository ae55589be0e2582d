"""Dropout of several models on the tape, each with its own share and its own mask."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunet import rng
from gpunet.backend import Array, array_module
from gpunet.functional import over_planes
from gpunet.fused.after import Drops
from gpunet.kernel import BlockKernel
from gpunet.tape import Pair
from gpunet.tensor import op


class Numbers(NamedTuple):
    """One element a model, where the kernel is launched: T scales, uint32 thresholds, uint64 seeds,
    and uint64 steps from which calls are counted.
    """

    scales: Array
    thresholds: Array
    seeds: Array
    steps: Array


def _reference(
    x: Array,
    scales: Array,
    thresholds: Array,
    seeds: Array,
    steps: Array,
    call: int,
    plane: int,
) -> Array:
    y = np.zeros_like(x)
    for k, model in enumerate(x):
        step = (int(steps[k]) + call) % 2**64
        kept = rng.kept((1, model.size), int(thresholds[k]), int(seeds[k]), step)
        y[k] = np.where(kept.reshape(model.shape), model * scales[k], x.dtype.type(0))
    return y


DROPOUTS = BlockKernel("nn/dropouts", _reference)


def masked(x: Array, *numbers: Any) -> Array:
    """`numbers` as the reference takes them."""
    if array_module(x) is np:
        return DROPOUTS.reference(x, *numbers)
    names = ("scales", "thresholds", "seeds", "steps", "call", "plane")
    return over_planes(DROPOUTS, x, **dict(zip(names, numbers, strict=True)))


@op
def dropouts(x: Array, *, numbers: Numbers, call: int) -> Pair:
    """Inverted dropout, x: (models, rows, columns); each model's mask is that of a Dropout layer
    with its numbers at `call`.
    """
    plane = math.prod(x.shape[1:])
    return masked(x, *numbers, call, plane), lambda gy: masked(gy, *numbers, call, plane)


class Placed:
    """The numbers of the Dropouts at one place, brought to the device when they are others."""

    def __init__(self) -> None:
        self._known: Any = None
        self._numbers: Numbers | None = None

    def __call__(self, x: Any, drops: Drops) -> Any:
        """The op applied to a Tensor."""
        first = drops.each[0].step
        told = [(d.threshold, d.seed, (d.step - first) % 2**64) for d in drops.each]
        if told != self._known or self._numbers is None:
            xp: Any = array_module(x.data)
            thresholds, seeds, steps = zip(*told, strict=True)
            arrays = (
                np.array(thresholds, np.uint32),
                np.array(seeds, np.uint64),
                np.array(steps, np.uint64),
            )
            self._numbers = Numbers(xp.asarray(drops.scale.ravel()), *map(xp.asarray, arrays))
            self._known = told
        return dropouts(x, numbers=self._numbers, call=first)

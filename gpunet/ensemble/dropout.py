"""Dropout of several models on the tape, each with its own share and its own mask."""

from __future__ import annotations

import math

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.counters import array as counters_at
from gpunet.functional import over_planes
from gpunet.fused.after import Drops
from gpunet.tape import Pair
from gpunet.tensor import op


@op
def dropouts(x: Array, *, drops: Drops) -> Pair:
    """Inverted dropout, x: (models, rows, columns); each model's mask is that of a Dropout layer
    with its numbers.
    """
    return _masked(x, drops), lambda gy: _masked(gy, drops)


def _masked(x: Array, drops: Drops) -> Array:
    xp = array_module(x)
    if xp is np:
        return np.where(drops.kept(x.shape, 0), x * drops.scale, x.dtype.type(0))
    return over_planes(x, math.prod(x.shape[1:]), counters=counters_at(xp), **drops.arguments)

"""What lies between the products and sums of a fused step on NumPy arrays, in place.

These are the formulas to read; [native.py](native.py) has the same functions compiled, which give
the same bits in fewer passes over memory. Arrays are (..., rows, columns), and vectors have what a
column has one of: (columns,) or, of several models, (models, 1, columns).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import rng
from gpunet.activations import TABLE
from gpunet.backend import Array
from gpunet.counters import CALL
from gpunet.fused.after import After
from gpunet.layers import BatchNorm

ZERO = np.zeros((), np.float32)  # an operand of no axes is quicker than a Python number
# What a gradient is made from; without an activation it is none of them.
SOURCE: dict[str | None, str] = {name: formula.source for name, formula in TABLE.items()}


def biased(z: Array, b: Array, y: Array, after: After, work: Any) -> None:
    """y = dropout(act(z + b)); y may be z."""
    np.add(z, b, out=y)
    activated(y, after, work)


def squares(z: Array, mean: Array, y: Array, work: Any) -> Array:
    """(z - mean)^2, and y = z - mean where that is of use to `normalised`."""
    centred = np.subtract(z, mean, out=y)
    return np.multiply(centred, centred, out=work.like(z))


def normalised(
    layer: BatchNorm, z: Array, mean: Array, inv: Array, y: Array, after: After, work: Any
) -> None:
    """y = dropout(act(gamma (z - mean) inv + beta)), after `squares` of the same."""
    scaled(layer, y, inv)
    activated(y, after, work)


def scaled(layer: BatchNorm, centred: Array, inv: Array) -> Array:
    """gamma centred inv + beta, in place."""
    np.multiply(centred, layer.gamma.data * inv, out=centred)
    return np.add(centred, layer.beta.data, out=centred)


def products(g: Array, seen: Array, z: Array, mean: Array, after: After, work: Any) -> Array:
    """g becomes as `activated_backward` makes it; g (z - mean)."""
    activated_backward(g, seen, after, work)
    centred = np.subtract(z, mean, out=work.like(z, 1))
    return np.multiply(g, centred, out=work.like(z))


def combined(
    g: Array, z: Array, mean: Array, slope: Array, share: Array, factor: Array, work: Any
) -> None:
    """g = (g - (z - mean) slope - share) factor, after `products` of the same."""
    centred = work.like(z, 1)
    np.multiply(centred, slope, out=centred)
    np.subtract(g, centred, out=g)
    np.subtract(g, share, out=g)
    np.multiply(g, factor, out=g)


def activated(y: Array, after: After, work: Any) -> None:
    """y = dropout(act(y))."""
    act = after.act
    if act == "relu":  # the commonest has no call between
        np.maximum(y, ZERO, out=y)
    elif act in VALUES:
        VALUES[act](y)
    elif act is not None:
        y[...] = TABLE[act].value(y, after.alpha)
    if after.drop.threshold:
        np.multiply(y, _mask(y, after, work), out=y)


def activated_backward(g: Array, seen: Array, after: After, work: Any) -> None:
    """g, the gradient of y = dropout(act(x)), becomes that of x.

    seen: x or y, as SOURCE says.
    """
    act, drop = after.act, after.drop
    if act == "relu":
        np.multiply(g, np.greater(seen, ZERO, out=work.like(seen)), out=g)
    elif act is not None:
        if 0 < drop.threshold < rng.ALL and SOURCE[act] != "input":
            seen = np.divide(seen, drop.scale, out=work.like(seen))
        if act in SLOPES:
            slope = work.like(seen, 1)
            SLOPES[act](seen, slope)
            np.multiply(g, slope, out=g)
        else:
            g[...] = TABLE[act].backward(g, seen, after.alpha)
    if drop.threshold:
        shown = SOURCE.get(act) == "output 0"
        np.multiply(g, drop.scale if shown else _mask(g, after, work), out=g)


def shifted(z: Array, b: Array | None, labels: Array, work: Any) -> Array:
    """z, logits, becomes z + b less the largest of each row; returns what it is at the labels,
    (..., rows).

    z: a column a sample in memory. labels: (rows,), or (models, rows) where z has models.
    """
    f = z.mT
    if b is not None:
        np.add(f, b[:, None] if b.ndim == 1 else b.mT, out=f)
    np.subtract(f, np.maximum.reduce(f, axis=-2, keepdims=True), out=f)
    places = np.multiply(labels, work.rows, out=work.places)
    np.add(places, work.samples, out=places)
    chosen: Array = f.reshape(-1)[places]
    return chosen


def pulled(z: Array, factor: Array, step: Array, labels: Array, work: Any) -> None:
    """z = z factor, less `step` at the labels, after `shifted` with them. factor: (rows,) or
    (models, 1, rows).
    """
    f = z.mT
    np.multiply(f, factor, out=f)
    f.reshape(-1)[work.places] -= step


def _mask(y: Array, after: After, work: Any) -> Array:
    """What dropout multiplies y with: 0, or the scale."""
    drop = after.drop
    kept = drop.kept(y.shape, int(work.counters[CALL]))
    return np.multiply(kept, y.dtype.type(drop.scale), out=work.like(y))


def _sigmoid(y: Array) -> None:
    np.negative(y, out=y)
    with np.errstate(over="ignore"):  # 1 / (1 + inf) = 0
        np.exp(y, out=y)
    np.reciprocal(np.add(y, 1, out=y), out=y)


def _tanh(y: Array) -> None:
    np.tanh(y, out=y)


def _sigmoid_slope(y: Array, out: Array) -> None:
    np.multiply(y, np.subtract(1, y, out=out), out=out)


def _tanh_slope(y: Array, out: Array) -> None:
    np.subtract(1, np.multiply(y, y, out=out), out=out)


# In place where it pays; the others are taken from TABLE.
VALUES: dict[str, Callable[[Array], Any]] = {"sigmoid": _sigmoid, "tanh": _tanh}
SLOPES: dict[str, Callable[[Array, Array], Any]] = {"sigmoid": _sigmoid_slope, "tanh": _tanh_slope}

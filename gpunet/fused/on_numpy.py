"""The ops of a fused step on NumPy arrays, in place; the CUDA kernels behind `on_cupy` are held to
them.

The formulas of `functional` and `losses`, arranged for a processor: a sum over the batch is a
product with a vector of ones, and the logits lie a column a sample, for along short rows a maximum
or a broadcast is slow. Every argument is as in `on_cupy`. (A product with a mask of 0 and 1 leaves
a nan a nan, and makes one of an infinite gradient, where a kernel writes 0.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Workspace:
    """What the ops use in passing, for batches of `rows` rows and layers of `columns` outputs, the
    last of them the logits.

    counters: int64 (8,), see `gpunet.counters`; set before each walk.
    ones, share: (rows,), of 1 and of 1 / rows; a product with them is a sum, or a mean, over the
    batch. classes: (columns[-1],), of 1. samples: 0 to rows - 1.
    """

    def __init__(self, xp: Any, rows: int, columns: Sequence[int], dtype: Any) -> None:
        self.ones, self.share = np.ones(rows, dtype), np.full(rows, 1 / rows, dtype)
        self.classes = np.ones(columns[-1], dtype)
        self.rows, self.samples = np.array(rows), np.arange(rows)
        self.places = np.empty_like(self.samples)
        self.counters: Array = None
        self.dot: Any = dot
        self.add_dot: Any = add_dot
        self._temporary: dict[Any, Array] = {}

    def like(self, a: Array, number: int = 0) -> Array:
        """Temporary array `number` of a's shape."""
        key = a.shape, number
        found = self._temporary.get(key)
        if found is None:
            found = self._temporary[key] = np.empty(a.shape, a.dtype)
        return found


dot = np.ndarray.dot  # (a, b, out); numpy.dot is the same and slower to call


def add_dot(a: Array, b: Array, out: Array) -> None:
    """out += a @ b."""
    np.add(out, dot(a, b), out=out)


def empty_logits(xp: Any, rows: int, columns: int, dtype: Any) -> Array:
    """A new array for `logits`, (rows, columns)."""
    return np.empty((columns, rows), dtype).T


def logits(x: Array, W: Array, out: Array) -> Array:
    """x @ W in `out`, which `empty_logits` made."""
    dot(W.T, x.T, out.T)
    return out


def bias_act(z: Array, b: Array | None, y: Array, after: After, work: Workspace) -> None:
    """y = dropout(act(z + b))."""
    if b is not None:
        np.add(z, b, out=y)
    elif z is not y:
        np.copyto(y, z)
    _act(y, after, work)


def bias_act_backward(
    g: Array,
    seen: Array,
    b: Array | None,
    db: Array | None,
    after: After,
    add: bool,
    work: Workspace,
) -> None:
    """g, the gradient of y, becomes that of the sum; db is its sum over the batch."""
    if b is not None:
        seen = np.add(seen, b, out=work.like(seen, 1))
    _act_backward(g, seen, after, work)
    if db is not None:
        (work.add_dot if add else work.dot)(work.ones, g, db)


def batch_norm(
    layer: BatchNorm,
    z: Array,
    b: Array | None,
    y: Array,
    mean: Array,
    inv: Array,
    after: After,
    work: Workspace,
) -> None:
    """y = dropout(act(gamma (z - mean) inv + beta)), inv = 1 / sqrt(variance + eps)."""
    rows = z.shape[-2]
    work.dot(work.share, z, mean)
    centred = np.subtract(z, mean, out=y)
    var = work.dot(work.share, np.multiply(centred, centred, out=work.like(z)))
    np.add(var, layer.eps, out=inv)
    np.sqrt(inv, out=inv)
    np.reciprocal(inv, out=inv)
    _scaled(layer, centred, inv)
    if layer.track:
        running_mean, running_var = layer.running_mean, layer.running_var
        running_mean *= 1 - layer.momentum
        running_mean += layer.momentum * (mean if b is None else mean + b)
        running_var *= 1 - layer.momentum
        running_var += layer.momentum * (rows / (rows - 1)) * var
    _act(y, after, work)


def batch_norm_backward(
    layer: BatchNorm,
    g: Array,
    y: Array,
    z: Array,
    mean: Array,
    inv: Array,
    db: Array | None,
    after: After,
    add: bool,
    work: Workspace,
) -> None:
    """g = gamma inv / B (B g - sum(g) - normal sum(g normal)); docs/backward.md derives it."""
    if SOURCE.get(after.act) == "input":
        y = _scaled(layer, np.subtract(z, mean, out=work.like(z, 1)), inv)
    _act_backward(g, y, after, work)
    rows = g.shape[-2]
    centred = np.subtract(z, mean, out=work.like(z, 1))
    product_ = np.multiply(g, centred, out=work.like(z))
    sum_g, sum_g_normal = work.dot(work.ones, g), work.dot(work.ones, product_) * inv
    np.multiply(centred, inv * sum_g_normal / rows, out=centred)
    np.subtract(g, centred, out=g)
    np.subtract(g, sum_g / rows, out=g)
    np.multiply(g, layer.gamma.data * inv, out=g)
    _store(layer.beta.grad, sum_g, add)
    _store(layer.gamma.grad, sum_g_normal, add)
    if db is not None and not add:
        db.fill(0)


def softmax_loss(
    z: Array,
    b: Array | None,
    db: Array | None,
    labels: Array,
    losses: Array,
    smoothing: float,
    share: float,
    add: bool,
    work: Workspace,
) -> None:
    """The mean cross entropy of softmax(z + b); z, from `logits`, becomes `share` times
    its gradient.
    """
    rows, classes = z.shape
    f = z.T
    flat = f.reshape(-1)
    if b is not None:
        np.add(f, b[:, None], out=f)
    np.subtract(f, np.maximum.reduce(f, axis=0), out=f)
    places = np.multiply(labels, work.rows, out=work.places)
    np.add(places, work.samples, out=places)
    chosen = dot(work.ones, flat[places])
    if smoothing:
        chosen = (1 - smoothing) * chosen + smoothing / classes * flat.sum()
    np.exp(f, out=f)
    total = dot(work.classes, f)
    losses[...] = (float(dot(work.ones, np.log(total))) - float(chosen)) / rows
    step = np.asarray(share / rows, z.dtype)  # as quick an operand as ZERO
    np.multiply(f, np.divide(step, total, out=total), out=f)
    flat[places] -= step
    if smoothing:  # in this order a single class comes to exactly 0
        flat[places] += step * smoothing
        np.subtract(f, step * smoothing / classes, out=f)
    if db is not None:
        (add_dot if add else dot)(f, work.ones, db)


def _scaled(layer: BatchNorm, centred: Array, inv: Array) -> Array:
    """gamma centred inv + beta, in place."""
    np.multiply(centred, layer.gamma.data * inv, out=centred)
    return np.add(centred, layer.beta.data, out=centred)


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


def _act(y: Array, after: After, work: Workspace) -> None:
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


def _act_backward(g: Array, seen: Array, after: After, work: Workspace) -> None:
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


def _mask(y: Array, after: After, work: Workspace) -> Array:
    """What dropout multiplies y with: 0, or the scale."""
    drop = after.drop
    kept = drop.kept(y.shape, int(work.counters[CALL]))
    return np.multiply(kept, y.dtype.type(drop.scale), out=work.like(y))


def _store(place: Any, value: Array, add: bool) -> None:
    if add:
        np.add(place, value, out=place)
    else:
        np.copyto(place, value)

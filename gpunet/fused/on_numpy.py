"""The ops of a fused step on NumPy arrays, in place; the CUDA kernels behind `on_cupy` are held to
them.

The formulas of `functional` and `losses`, arranged for a processor: a sum over the batch is a
product with a vector of ones, and the logits lie a column a sample, for along short rows a maximum
or a broadcast is slow. Every argument is as in `on_cupy`. (A product with a mask of 0 and 1 leaves
a nan a nan, and makes one of an infinite gradient, where a kernel writes 0.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.activations import TABLE
from gpunet.backend import Array
from gpunet.functional import log_softmax
from gpunet.fused import native, passes
from gpunet.fused.after import After
from gpunet.layers import BatchNorm
from gpunet.losses import softmax_cross_entropy


class Workspace:
    """What the ops use in passing, for batches of `rows` rows and layers of `columns` outputs, the
    last of them the logits.

    counters: int64 (8,), see `gpunet.counters`. passes: what is between products and sums, by NumPy
        or compiled.
    ones, share: (rows,), of 1 and of 1 / rows; a product with them is a sum, or a mean, over the
    batch. classes: (columns[-1],), of 1. samples: 0 to rows - 1.
    """

    def __init__(
        self, xp: Any, rows: int, columns: Sequence[int], dtype: Any, models: int = 1
    ) -> None:
        self.ones, self.share = np.ones(rows, dtype), np.full(rows, 1 / rows, dtype)
        self.classes = np.ones(columns[-1], dtype)
        self.rows, self.samples = np.array(rows), np.arange(rows)
        self.places = np.empty_like(self.samples)
        self.counters: Array = None
        self.passes: Any = passes
        self._choice = native.Choice(models * rows * max(columns), dtype)
        self.dot: Any = dot
        self.add_dot: Any = add_dot
        self._temporary: dict[Any, Array] = {}

    def begin(self, counters: Array) -> None:
        """Before each walk."""
        self.counters = counters
        if self._choice.open:
            self.passes = self._choice.look()

    def settle(self) -> None:
        """Wait for the passes of a long training: for benchmarks."""
        self._choice.settle()

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


def empty_logits(xp: Any, rows: int, columns: int, dtype: Any, *models: int) -> Array:
    """A new array for `logits`, (rows, columns), or with an axis of models before."""
    return np.empty((*models, columns, rows), dtype).mT


def logits(x: Array, W: Array, out: Array) -> Array:
    """x @ W in `out`, which `empty_logits` made."""
    dot(W.T, x.T, out.T)
    return out


def bias_act(z: Array, b: Array | None, y: Array, after: After, work: Workspace) -> None:
    """y = dropout(act(z + b))."""
    if b is not None:
        work.passes.biased(z, b, y, after, work)
        return
    if z is not y:
        np.copyto(y, z)
    work.passes.activated(y, after, work)


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
    work.passes.activated_backward(g, seen, after, work)
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
    var = work.dot(work.share, work.passes.squares(z, mean, y, work))
    np.add(var, layer.eps, out=inv)
    np.sqrt(inv, out=inv)
    np.reciprocal(inv, out=inv)
    if layer.track:
        running_mean, running_var = layer.running_mean, layer.running_var
        running_mean *= 1 - layer.momentum
        running_mean += layer.momentum * (mean if b is None else mean + b)
        running_var *= 1 - layer.momentum
        running_var += layer.momentum * (rows / (rows - 1)) * var
    work.passes.normalised(layer, z, mean, inv, y, after, work)


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
    if passes.SOURCE.get(after.act) == "input":
        y = passes.scaled(layer, np.subtract(z, mean, out=work.like(z, 1)), inv)
    do, rows = work.passes, g.shape[-2]
    product = do.products(g, y, z, mean, after, work)
    sum_g, sum_g_normal = work.dot(work.ones, g), work.dot(work.ones, product) * inv
    slope, share, factor = (work.like(inv, k) for k in range(3))
    np.divide(np.multiply(inv, sum_g_normal, out=slope), rows, out=slope)
    np.divide(sum_g, rows, out=share)
    np.multiply(layer.gamma.data, inv, out=factor)
    do.combined(g, z, mean, slope, share, factor, work)
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
    f, do = z.T, passes if smoothing else work.passes
    chosen = dot(work.ones, do.shifted(z, b, labels, work))
    if smoothing:
        chosen = (1 - smoothing) * chosen + smoothing / classes * f.reshape(-1).sum()
    np.exp(f, out=f)
    total = dot(work.classes, f)
    losses[...] = (float(dot(work.ones, np.log(total))) - float(chosen)) / rows
    step = np.asarray(share / rows, z.dtype)  # as quick an operand as `passes.ZERO`
    do.pulled(z, np.divide(step, total, out=total), step, labels, work)
    if smoothing:  # in this order a single class comes to exactly 0
        f.reshape(-1)[work.places] += step * smoothing
        np.subtract(f, step * smoothing / classes, out=f)
    if db is not None:
        (add_dot if add else dot)(f, work.ones, db)


def norm_act(norm: BatchNorm | None, z: Array, b: Array | None, after: After, work: Any) -> None:
    """z = act(norm(z + b)) in evaluation mode, in place: what the layers' ops come to, to the last
    bit.
    """
    if b is not None:
        np.add(z, b, out=z)
    if norm is not None:
        np.subtract(z, norm.running_mean, out=z)
        np.multiply(z, 1 / np.sqrt(norm.running_var + norm.eps), out=z)
        np.multiply(z, norm.gamma.data, out=z)
        np.add(z, norm.beta.data, out=z)
    if after.act == "relu":
        np.maximum(z, passes.ZERO, out=z)
    elif after.act is not None:
        z[...] = TABLE[after.act].value(z, after.alpha)


def score(
    z: Array, b: Array | None, labels: Array, smoothing: float, found: Array, work: Any
) -> None:
    """Loss and hits of the logits z + b: those of `losses`, to the last bit."""
    if b is not None:
        np.add(z, b, out=z)
    if smoothing:
        found[0], _ = softmax_cross_entropy.pair(z, labels, label_smoothing=smoothing)
    else:  # where all other terms are 0
        (logp, _), samples = log_softmax.pair(z), np.arange(len(z))
        terms = np.zeros_like(logp)
        terms[samples, labels] = logp[samples, labels] * z.dtype.type(-1 / len(z))
        found[0] = terms.sum()
    found[1] = np.count_nonzero(z.argmax(axis=-1) == labels)


def _store(place: Any, value: Array, add: bool) -> None:
    if add:
        np.add(place, value, out=place)
    else:
        np.copyto(place, value)

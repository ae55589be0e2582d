"""The fused step on NumPy arrays: forward, loss and backward of a plan into buffers that are kept.

The formulas of `functional` and `losses`, arranged for a processor:
- a sum over the batch is a product with a vector of ones;
- the slope of an activation is computed once, as numbers, and takes dropout's mask and scale in, so
  that backward is one multiplication (a ReLU makes nan of -inf here, 0 of it there);
- in front of a BatchNorm no bias is added: the mean takes it away again, and its gradient is 0;
- gradients are written straight into the parameters' `grad`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import rng
from gpunet.backend import Array
from gpunet.fused.plan import Block, Plan
from gpunet.parameter import Parameter

ZERO = np.zeros((), np.float32)  # an operand of no axes is quicker than a Python number


class Gate:
    """Activation and dropout of a block, in place; `slope` is what backward multiplies with."""

    def __init__(self, block: Block, like: Array) -> None:
        self.act, self.dropout = block.act, block.dropout
        self.slope = np.empty_like(like)
        self.mask = np.empty_like(like)
        self.positive = np.empty(like.shape, bool)
        self.open = False  # neither activation nor dropout: all passes

    def forward(self, y: Array) -> None:
        """y = dropout(act(y))."""
        drop = self.dropout
        kept = None
        if drop is not None:
            if drop.p > 0:
                kept = rng.kept(y.shape, rng.threshold(drop.p), drop.seed, 0, drop.calls)
            drop.calls += 1
        self.open = self.act is None and kept is None
        if self.act == "relu":
            self._relu(y, kept)
        elif self.act is not None:
            self._curve(y)
        if kept is not None and self.act != "relu":
            mask = self.mask if self.act else self.slope
            np.multiply(kept, self._scale(y), out=mask)
            np.multiply(y, mask, out=y)
            if self.act:
                np.multiply(self.slope, mask, out=self.slope)

    def _scale(self, y: Array) -> Any:
        p = self.dropout.p if self.dropout else 0.0
        return y.dtype.type(1 / (1 - p) if p < 1 else 0)

    def _relu(self, y: Array, kept: Array | None) -> None:
        if kept is None:
            np.greater(y, ZERO, out=self.slope)
        else:
            np.logical_and(np.greater(y, ZERO, out=self.positive), kept, out=kept)
            np.multiply(kept, self._scale(y), out=self.slope)
        np.multiply(y, self.slope, out=y)

    def _curve(self, y: Array) -> None:
        """tanh or sigmoid, and the slope from its value."""
        if self.act == "tanh":
            np.tanh(y, out=y)
            np.multiply(y, y, out=self.slope)
            np.subtract(1, self.slope, out=self.slope)
        else:
            np.negative(y, out=y)
            with np.errstate(over="ignore"):  # 1 / (1 + inf) = 0
                np.exp(y, out=y)
            np.add(y, 1, out=y)
            np.reciprocal(y, out=y)
            np.subtract(1, y, out=self.slope)
            np.multiply(y, self.slope, out=self.slope)

    def backward(self, g: Array) -> None:
        if not self.open:
            np.multiply(g, self.slope, out=g)


class Norm:
    """A block's BatchNorm in training: `centred` is kept for backward."""

    def __init__(self, block: Block, like: Array) -> None:
        assert block.norm is not None
        self.layer, self.b = block.norm, block.affine.b
        rows, features = like.shape
        self.centred, self.scratch = np.empty_like(like), np.empty_like(like)
        self.mean, self.var, self.sums = (np.empty(features, like.dtype) for _ in range(3))
        self.inv = np.empty(features, like.dtype)
        self.share = np.full(rows, 1 / rows, like.dtype)  # its product is a mean over the batch
        self.ones = np.ones(rows, like.dtype)
        self.unbiased = rows / (rows - 1)

    def forward(self, z: Array) -> None:
        """z = gamma (z - mean) / sqrt(var + eps) + beta."""
        layer, centred = self.layer, self.centred
        np.dot(self.share, z, out=self.mean)
        np.subtract(z, self.mean, out=centred)
        np.multiply(centred, centred, out=self.scratch)
        np.dot(self.share, self.scratch, out=self.var)
        np.add(self.var, layer.eps, out=self.inv)
        np.sqrt(self.inv, out=self.inv)
        np.reciprocal(self.inv, out=self.inv)
        np.multiply(centred, layer.gamma.data * self.inv, out=z)
        np.add(z, layer.beta.data, out=z)
        if layer.track:
            mean = self.mean if self.b is None else self.mean + self.b.data
            layer.running_mean += layer.momentum * (mean - layer.running_mean)
            layer.running_var += layer.momentum * (self.var * self.unbiased - layer.running_var)

    def backward(self, g: Array, add: bool) -> None:
        """g = gamma inv / B (B g - sum(g) - normal sum(g normal)); docs/backward.md derives it."""
        layer, inv = self.layer, self.inv
        sum_g = np.dot(self.ones, g)
        _deliver(layer.beta, sum_g, add)
        np.multiply(g, self.centred, out=self.scratch)
        np.dot(self.ones, self.scratch, out=self.sums)
        sum_g_normal = np.multiply(self.sums, inv, out=self.sums)
        _deliver(layer.gamma, sum_g_normal, add)
        np.multiply(self.centred, inv * sum_g_normal / len(g), out=self.scratch)
        np.subtract(g, self.scratch, out=g)
        np.subtract(g, sum_g / len(g), out=g)
        np.multiply(g, layer.gamma.data * inv, out=g)
        if self.b is not None and not add:
            self.b.grad = None  # in an arena that is 0


def _deliver(parameter: Parameter, gradient: Array, add: bool) -> None:
    place: Any = parameter.grad
    np.add(place, gradient, out=place) if add else np.copyto(place, gradient)


class HostBlock:
    """One block for batches of a fixed number of rows.

    `forward` returns the block's own buffer; `backward` overwrites the gradient it gets.
    """

    def __init__(self, block: Block, rows: int, first: bool) -> None:
        affine = block.affine
        self.affine = affine
        self.y = np.empty((rows, affine.out_features), affine.dtype)
        self.norm = Norm(block, self.y) if block.norm else None
        self.gate = Gate(block, self.y) if block.act or block.dropout else None
        self.ones = np.ones(rows, affine.dtype)
        self.gx = None if first else np.empty((rows, affine.in_features), affine.dtype)

    def forward(self, x: Array) -> Array:
        self.x = x
        affine = self.affine
        y = np.dot(x, affine.W.data, out=self.y)
        if self.norm is not None:
            self.norm.forward(y)
        elif affine.b is not None:
            np.add(y, affine.b.data, out=y)
        if self.gate is not None:
            self.gate.forward(y)
        return y

    def backward(self, g: Array, add: bool) -> Array | None:
        """Gradients of the parameters (added to what is there if `add`), and of the input."""
        affine = self.affine
        if self.gate is not None:
            self.gate.backward(g)
        if self.norm is not None:
            self.norm.backward(g, add)
        elif affine.b is not None:
            _product(self.ones, g, affine.b, add)
        _product(self.x.T, g, affine.W, add)
        return None if self.gx is None else np.dot(g, affine.W.data.T, out=self.gx)


def _product(a: Array, b: Array, parameter: Parameter, add: bool) -> None:
    """The gradient a @ b of `parameter`, in its place."""
    place: Any = parameter.grad
    if add:
        np.add(place, np.dot(a, b), out=place)
    else:
        np.dot(a, b, out=place)


class HostOutput:
    """The last block, with softmax and cross-entropy: a column a sample, for along short rows a
    maximum or a broadcast is slow.
    """

    def __init__(self, block: Block, rows: int, first: bool) -> None:
        affine = self.affine = block.affine
        classes, dtype = affine.out_features, affine.dtype
        self.z = np.empty((classes, rows), dtype)
        self.flat = self.z.reshape(-1)
        self.rows, self.samples = np.array(rows), np.arange(rows)
        self.places = np.empty_like(self.samples)
        self.top, self.total = np.empty(rows, dtype), np.empty(rows, dtype)
        self.ones, self.classes = np.ones(rows, dtype), np.ones(classes, dtype)
        self.gx = None if first else np.empty((rows, affine.in_features), dtype)

    def forward(self, x: Array, t: Array, smoothing: float, share: float) -> Array:
        """The mean loss; `share` times its gradient stands in z."""
        self.x = x
        z, flat, total, affine = self.z, self.flat, self.total, self.affine
        classes, rows = z.shape
        np.dot(affine.W.data.T, x.T, out=z)
        if affine.b is not None:
            np.add(z, affine.b.data[:, None], out=z)
        np.multiply(t, self.rows, out=self.places)
        places = np.add(self.places, self.samples, out=self.places)
        np.maximum.reduce(z, axis=0, out=self.top)
        np.subtract(z, self.top, out=z)
        chosen = self.ones.dot(flat[places])
        if smoothing:
            chosen = (1 - smoothing) * chosen + smoothing / classes * flat.sum()
        np.exp(z, out=z)
        np.dot(self.classes, z, out=total)
        loss = (self.ones.dot(np.log(total)) - chosen) / rows
        step = share / rows
        np.divide(step, total, out=total)
        np.multiply(z, total, out=z)
        if smoothing:
            np.subtract(z, step * smoothing / classes, out=z)
        flat[places] = flat[places] - step * (1 - smoothing)
        return np.asarray(loss)

    def backward(self, add: bool) -> Array | None:
        """As for a `HostBlock`."""
        affine, g = self.affine, self.z
        if affine.b is not None:
            _product(g, self.ones, affine.b, add)
        _product(self.x.T, g.T, affine.W, add)
        return None if self.gx is None else np.dot(g.T, affine.W.data.T, out=self.gx)


class HostBatch:
    """A plan for batches of `rows` rows."""

    def __init__(self, plan: Plan, rows: int) -> None:
        *hidden, last = plan.blocks
        self.hidden = [HostBlock(b, rows, first=k == 0) for k, b in enumerate(hidden)]
        self.output = HostOutput(last, rows, first=not hidden)
        self.backwards = self.hidden[::-1]
        self.rescale, self.loss = plan.rescale, plan.loss
        first = plan.blocks[0].affine
        self.x = np.empty((rows, first.in_features), first.dtype) if plan.rescale else None

    def run(self, x: Array, t: Array, share: float, add: bool) -> Array:
        """The loss; all gradients are where they belong."""
        if self.rescale is not None:
            x = np.multiply(x, x.dtype.type(self.rescale.scale), out=self.x)
        for block in self.hidden:
            x = block.forward(x)
        loss = self.output.forward(x, t, self.loss.label_smoothing, share)
        g: Any = self.output.backward(add)
        for block in self.backwards:
            g = block.backward(g, add)
        return loss


class HostStep:
    """Forward, loss and backward of a plan on NumPy arrays.

    Buffers are kept for the batch sizes used last, `KEPT` at most.
    """

    KEPT = 4

    def __init__(self, plan: Plan) -> None:
        affine = plan.blocks[0].affine
        self.plan, self.features, self.dtype = plan, affine.in_features, affine.dtype
        self.classes = plan.blocks[-1].affine.out_features
        self.least = 2 if any(b.norm for b in plan.blocks) else 1
        self._batches: dict[int, HostBatch] = {}

    def accepts(self, x: Any, t: Any) -> bool:
        """Rows of numbers with labels in range; what else there is the layers take, or refuse."""
        return (
            type(t) is np.ndarray
            and x.ndim == 2
            and x.shape[1] == self.features
            and t.shape == x.shape[:1]
            and len(t) >= self.least
            and t.dtype.kind in "iu"
            and _largest(t) < self.classes
        )

    def gradients(self, x: Array, t: Array, share: float, add: bool) -> Array:
        """The loss of a batch; its gradients, times `share`, are in the parameters' `grad`."""
        rows = len(x)
        batch = self._batches.get(rows)
        if batch is None:
            if len(self._batches) == self.KEPT:
                del self._batches[next(iter(self._batches))]
            batch = self._batches[rows] = HostBatch(self.plan, rows)
        return batch.run(x if x.dtype == self.dtype else x.astype(self.dtype), t, share, add)


UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


def _largest(t: Array) -> int:
    """The largest label; a negative one counts as the largest of all."""
    return int(np.maximum.reduce(t.view(UNSIGNED.get(t.dtype, t.dtype))))

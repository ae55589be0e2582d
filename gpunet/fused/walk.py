"""Forward, loss and backward of a plan, on either device: a block is an op, `(y, backward)`.

What differs between the devices are the ops in between, `on_numpy` and `on_cupy`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import counters, subnormals
from gpunet.activations import TABLE
from gpunet.backend import Array, array_module
from gpunet.fused import on_cupy, on_numpy, on_stacks, passes
from gpunet.fused.after import After, Dropouts, next_drop
from gpunet.fused.plan import Block, Plan
from gpunet.losses import labels

Backward = Callable[[Array, bool], Any]  # (gradient of y, add) -> gradient of x


class Buffers:
    """A block, and what it writes for batches of a fixed number of rows.

    y: its output. z: the weighted sum; y itself where neither a BatchNorm nor the activation needs
    it later. gx: the gradient of its input, None in front. mean, inv: of a BatchNorm. after: what
    follows the sum, if that is always the same.
    """

    def __init__(self, xp: Any, block: Block, y: Array, first: bool) -> None:
        *rows, columns = y.shape
        self.block, self.y = block, y
        act = block.act
        apart = block.norm or (act and TABLE[act.formula].source == "input")
        self.z = xp.empty_like(y) if apart else y
        self.gx = None if first else xp.empty((*rows, block.affine.in_features), y.dtype)
        if block.norm:
            shape = (*rows[:-1], 1, columns) if rows[:-1] else columns
            self.mean, self.inv = xp.empty(shape, y.dtype), xp.empty(shape, y.dtype)
        self.after = None if block.dropout or (act and act.config()) else next_after(block)


class Batch:
    """The walk through a plan for batches of `rows` rows.

    ops: others than the device's. captured: a CUDA graph may write to the buffers. models: how
        many, if arrays have a leading axis of them; the parameters have one, too.
    """

    def __init__(
        self, plan: Plan, rows: int, xp: ModuleType, *models: int, ops: Any = None
    ) -> None:
        self.plan, self.rows, self.captured = plan, rows, False
        on_cpu = on_stacks if models else on_numpy
        self.ops: Any = ops or (on_cpu if xp is np else on_cupy)
        self.xp: Any = xp
        self.work = self.ops.Workspace(xp, rows, plan.columns, plan.dtype, *models)
        outputs = [xp.empty((*models, rows, n), plan.dtype) for n in plan.columns[:-1]]
        outputs.append(self.ops.empty_logits(xp, rows, plan.columns[-1], plan.dtype, *models))
        pairs = enumerate(zip(plan.blocks, outputs, strict=True))
        *self._hidden, self._last = [Buffers(xp, block, y, k == 0) for k, (block, y) in pairs]
        self._x: Array = None
        self._shape = (*models, rows, plan.features)

    def run(
        self, x: Array, labels: Array, losses: Array, counters: Array, share: float, add: bool
    ) -> None:
        """The loss and, times `share`, the gradients, each in its place.

        Args:
            x: of the parameters' dtype, and rescaled.
            labels, losses: as `softmax_loss` takes them.
            counters: int64 (8,), see `gpunet.counters`.
        """
        self.work.begin(counters)
        if self.xp is np:
            with subnormals.flushed(self.plan.dtype):
                self._run(x, labels, losses, share, add)
        else:
            self._run(x, labels, losses, share, add)

    def _run(self, x: Array, labels: Array, losses: Array, share: float, add: bool) -> None:
        backs: list[Backward] = []
        for own in self._hidden:
            x, back = self._block(own, x)
            backs.append(back)
        g = self._output(x, labels, losses, share, add)
        while backs:
            g = backs.pop()(g, add)

    def _block(self, own: Buffers, x: Array) -> tuple[Array, Backward]:
        """dropout(act(batch_norm(x W + b)))."""
        ops, work, block = self.ops, self.work, own.block
        norm, bias = block.norm, block.affine.b
        after = own.after or next_after(block)
        z = ops.dot(x, block.affine.W.data, own.z)
        b = None if bias is None else bias.data
        if norm is not None:
            ops.batch_norm(norm, z, b, own.y, own.mean, own.inv, after, work)
        else:
            ops.bias_act(z, b, own.y, after, work)

        def backward(g: Array, add: bool) -> Array | None:
            db = None if bias is None else bias.grad
            if norm is not None:
                kept = (own.y, z, own.mean, own.inv)
                ops.batch_norm_backward(norm, g, *kept, db, after, add, work)
            else:
                ops.bias_act_backward(g, z, None if z is own.y else b, db, after, add, work)
            return self._products(own, x, g, add)

        return own.y, backward

    def _output(
        self, x: Array, labels: Array, losses: Array, share: float, add: bool
    ) -> Array | None:
        """The loss of the last block, and back through it."""
        own = self._last
        affine, bias = own.block.affine, own.block.affine.b
        z = self.ops.logits(x, affine.W.data, own.z)
        b, db = (None, None) if bias is None else (bias.data, bias.grad)
        smoothing = self.plan.loss.label_smoothing
        self.ops.softmax_loss(z, b, db, labels, losses, smoothing, share, add, self.work)
        return self._products(own, x, z, add)

    def _products(self, own: Buffers, x: Array, g: Array, add: bool) -> Array | None:
        """From the gradient of x W: W's, and x's."""
        ops, W = self.ops, own.block.affine.W
        (ops.add_dot if add else ops.dot)(x.T, g, W.grad)
        return None if own.gx is None else ops.dot(g, W.data.T, own.gx)

    def converted(self, x: Array) -> Array:
        """x as the first block takes it: of its dtype, and rescaled."""
        plan = self.plan
        if self._x is None:
            self._x = self.xp.empty(self._shape, plan.dtype)
        self._x[...] = x
        if plan.rescale is not None:
            self._x *= plan.dtype.type(plan.rescale.scale)
        return self._x


class Stacked(Batch):
    """The same for `models` models at once."""

    def __init__(self, plan: Plan, rows: int, xp: ModuleType, models: int) -> None:
        super().__init__(plan, rows, xp, models)

    def _products(self, own: Buffers, x: Array, g: Array, add: bool) -> Array | None:
        ops, W = self.ops, own.block.affine.W
        (ops.add_dot if add else ops.dot)(x.swapaxes(-1, -2), g, W.grad)
        return None if own.gx is None else ops.dot(g, W.data.swapaxes(-1, -2), own.gx)


def next_after(block: Block) -> After:
    """What follows the sum in the next training call, which is counted."""
    act, dropout = block.act, block.dropout
    drop: Any = dropout.next_drops() if isinstance(dropout, Dropouts) else next_drop(dropout)
    return After(act.formula, drop, act.alpha) if act else After(None, drop)


class Fused:
    """Forward, loss and backward of a plan, for whatever batches come.

    Buffers are kept for the batch sizes used last, `KEPT` at most, and those in a CUDA graph.
    """

    KEPT = 4

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.least = 2 if any(b.norm for b in plan.blocks) else 1
        self._batches: dict[int, Batch] = {}

    def accepts(self, x: Any, t: Any) -> bool:
        """Arrays of one kind, rows of real numbers, and integers for labels; what else there is the
        layers take one by one, or refuse.
        """
        return (
            type(t) is type(x)
            and x.ndim == 2
            and x.shape[1] == self.plan.features
            and x.dtype.kind in "fiub"
            and len(x) >= self.least
            and t.ndim == 1
            and t.dtype.kind in "iu"
        )

    def gradients(self, x: Any, t: Any, share: float, add: bool) -> Array | None:
        """The loss of a batch, float64 (); its gradients, times `share`, are in the parameters'
        `grad`. None, and nothing done, for what this does not accept.

        ValueError for labels that do not fit, as from the loss.
        """
        xp = array_module(x)
        if xp is None or not self.accepts(x, t):
            return None
        x, classes = self.taken(x, t)
        batch, losses = self.batch(len(classes), xp), xp.empty((), np.float64)
        batch.run(x, classes, losses, counters.array(xp), share, add)
        return losses

    def taken(self, x: Array, t: Array) -> tuple[Array, Array]:
        """A batch that is accepted as a walk takes it. ValueError as above."""
        plan = self.plan
        classes = labels(t, x.shape[:1], plan.columns[-1])
        if plan.rescale is not None or x.dtype != plan.dtype:
            x = self.batch(len(x), array_module(x)).converted(x)
        return x, classes

    def is_compiled(self, x: Array) -> bool:
        """Whether rows x on the CPU, of those met last, are walked through by compiled passes."""
        batch = self._batches.get(len(x)) if x.ndim else None
        return batch is not None and batch.xp is np and batch.work.passes is not passes

    def settle(self, rows: int) -> None:
        """Wait for what a long training on the CPU, by batches of `rows` rows, would come to have
        compiled: for benchmarks.
        """
        self.batch(rows, np).work.settle()

    def batch(self, rows: int, xp: ModuleType) -> Batch:
        """The buffers for `rows` rows."""
        batch = self._batches.get(rows)
        if batch is None or batch.xp is not xp:
            loose = [n for n, b in self._batches.items() if not b.captured]
            if len(loose) >= self.KEPT:
                del self._batches[loose[0]]
            batch = self._batches[rows] = Batch(self.plan, rows, xp)
        captured = counters.current()
        if captured is not None:
            batch.captured = True
            for part in self.plan.parts:
                captured.depend_on(part)
        return batch

"""The fused step on CuPy arrays: between two matrix products a layer is one launch, nothing is
allocated once the buffers are there, and nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import clock, rng
from gpunet.backend import Array, array_module
from gpunet.fused import kernels
from gpunet.fused.kernels import NO_DROP, Drop
from gpunet.fused.plan import Block, Plan
from gpunet.gemm import product
from gpunet.layers import Dropout


class DeviceBlock:
    """One block for batches of a fixed number of rows.

    `forward` returns the block's own buffer; `backward` overwrites the gradient it gets. `y` is the
    output; a BatchNorm keeps its input `z` too.
    """

    def __init__(self, block: Block, rows: int, first: bool, xp: Any, scratch: Array) -> None:
        affine = block.affine
        self.block, self.affine, self.xp, self.scratch = block, affine, xp, scratch
        columns = affine.out_features
        self.y = xp.empty((rows, columns), affine.dtype)
        self.z = xp.empty_like(self.y) if block.norm else self.y
        self.gx = None if first else xp.empty((rows, affine.in_features), affine.dtype)
        if block.norm:
            self.mean, self.inv = xp.empty(columns, affine.dtype), xp.empty(columns, affine.dtype)

    def multiply(self, x: Array) -> Array:
        """x @ W."""
        self.x = x
        return product(x, self.affine.W.data, out=self.z)

    def forward(self, x: Array) -> Array:
        z, block, b = self.multiply(x), self.block, self.affine.b
        self.drop = _drop(block.dropout)
        bias = None if b is None else b.data
        after: Any = {"act": block.act, "drop": self.drop, "clock": clock.array(self.xp)}
        layer = block.norm
        if layer is not None:
            kernels.batch_norm(
                *(z, layer.gamma.data, layer.beta.data, bias, self.y, self.mean, self.inv),
                *(layer.running_mean, layer.running_var),
                momentum=layer.momentum,
                eps=layer.eps,
                track=layer.track,
                scratch=self.scratch,
                **after,
            )
        elif bias is not None or block.act or self.drop is not NO_DROP:
            kernels.bias_act(z, bias, **after)
        return self.y

    def backward(self, g: Array, add: bool) -> Array | None:
        """Gradients of the parameters (added to what is there if `add`), and of the input."""
        block, b = self.block, self.affine.b
        db = None if b is None else b.grad
        after: Any = {"act": block.act, "drop": self.drop, "clock": clock.array(self.xp)}
        after |= {"scratch": self.scratch, "add": add}
        layer = block.norm
        if layer is not None:
            kept = (self.y, self.z, self.mean, self.inv, layer.gamma.data)
            kernels.batch_norm_backward(g, *kept, g, layer.gamma.grad, layer.beta.grad, db, **after)
        elif db is not None or block.act or self.drop is not NO_DROP:
            kernels.bias_act_backward(g, self.y, g, db, **after)
        return self.products(g, add)

    def products(self, g: Array, add: bool) -> Array | None:
        """From the gradient of x @ W: W's, and x's."""
        product(self.x.T, g, out=self.affine.W.grad, add=add)
        return None if self.gx is None else product(g, self.affine.W.data.T, out=self.gx)


def _drop(layer: Dropout | None) -> Drop:
    """The mask of the layer's next call, which is counted."""
    if layer is None:
        return NO_DROP
    recorded = clock.recorded()
    if recorded is not None:
        step = layer.follow(recorded)
    else:
        step = layer.calls
        layer.calls += 1
    if layer.p == 0:
        return NO_DROP
    scale = 1 / (1 - layer.p) if layer.p < 1 else 0.0
    return Drop(rng.threshold(layer.p), scale, layer.seed, 0, step)


class DeviceBatch:
    """A plan for batches of `rows` rows. recorded: a graph may write to the buffers."""

    def __init__(self, plan: Plan, rows: int, xp: Any) -> None:
        self.loss = plan.loss
        self.recorded = False
        columns = [b.affine.out_features for b in plan.blocks]
        sizes = [kernels.scratch_size(rows, n) for n in columns]
        size = max(*sizes, kernels.loss_scratch_size(rows, columns[-1]), 1)
        self.scratch = xp.empty(size, plan.blocks[0].affine.dtype)
        self.blocks = [
            DeviceBlock(b, rows, k == 0, xp, self.scratch) for k, b in enumerate(plan.blocks)
        ]

    def run(self, x: Array, labels: Array, losses: Array, hits: Array, **options: Any) -> None:
        """Loss and gradients; see `kernels.softmax_loss` for the arguments."""
        *hidden, last = self.blocks
        for block in hidden:
            x = block.forward(x)
        z, b = last.multiply(x), last.affine.b
        kernels.softmax_loss(
            *(z, None if b is None else b.data, labels, z, None if b is None else b.grad),
            *(losses, hits),
            **options,
            clock=clock.array(last.xp),
            scratch=self.scratch,
            label_smoothing=self.loss.label_smoothing,
        )
        add = options.get("add", False)
        g: Any = last.products(z, add)
        for block in reversed(hidden):
            g = block.backward(g, add)


class DeviceStep:
    """Forward, loss and backward of a plan on CuPy arrays.

    Buffers are kept for the batch sizes used last, `KEPT` at most, and those of recorded steps.
    """

    KEPT = 4

    def __init__(self, plan: Plan) -> None:
        affine = plan.blocks[0].affine
        self.plan, self.features, self.dtype = plan, affine.in_features, affine.dtype
        self.least = 2 if any(b.norm for b in plan.blocks) else 1
        self._batches: dict[int, DeviceBatch] = {}
        self._hits: Array = None

    def accepts(self, x: Any, t: Any) -> bool:
        """Rows of numbers with labels; what else there is the layers take, or refuse."""
        xp = array_module(x)
        return (
            xp not in (None, np)
            and array_module(t) is xp
            and x.ndim == 2
            and x.shape[1] == self.features
            and t.shape == x.shape[:1]
            and len(t) >= self.least
            and t.dtype.kind in "iu"
        )

    def gradients(self, x: Array, t: Array, share: float, add: bool) -> Array:
        """The loss of a batch; its gradients, times `share`, are in the parameters' `grad`."""
        xp = array_module(x)
        losses = xp.empty(1, np.float64)
        if self._hits is None:
            self._hits = xp.empty(1, np.int64)
        x = x if x.dtype == self.dtype else x.astype(self.dtype)
        x = x if self.plan.rescale is None else x * x.dtype.type(self.plan.scale())
        t = t if t.dtype == np.int64 else t.astype(np.int64)
        self.batch(len(x), xp).run(x, t, losses, self._hits, share=share, add=add)
        return losses.reshape(())

    def batch(self, rows: int, xp: Any) -> DeviceBatch:
        """The buffers for `rows` rows."""
        recorded = clock.recorded()
        if recorded is not None:
            for layer in (*self.plan.layers, self.plan.loss):
                recorded.saw(layer)
        batch = self._batches.get(rows)
        if batch is None:
            loose = [n for n, b in self._batches.items() if not b.recorded]
            if len(loose) >= self.KEPT:
                del self._batches[loose[0]]
            batch = self._batches[rows] = DeviceBatch(self.plan, rows, xp)
        batch.recorded |= recorded is not None
        return batch

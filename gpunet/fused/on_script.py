"""The ops of `on_numpy`, noted in a script instead of made; every argument is as there."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import rng
from gpunet.backend import Array
from gpunet.fused import on_numpy
from gpunet.fused.after import After, Drop, words_of
from gpunet.fused.native import WHOLE, shape_of, spread
from gpunet.fused.plan import Plan
from gpunet.fused.script import Hole, Script
from gpunet.layers import BatchNorm

ACTS = (*WHOLE, "tanh", "sigmoid")
AS_IT_IS, TRANSPOSED = 111, 112  # of a product's operand, in CBLAS


def refusal(plan: Plan, rows: int) -> str | None:
    """Why a step with batches of so many rows is not noted, or None."""
    odd = [b.act.formula for b in plan.blocks if b.act and b.act.formula not in ACTS]
    if odd:
        return f"{odd[0]} is NumPy's"
    if min(rows, plan.features, *plan.columns) < 2:
        return "NumPy multiplies a single row or column in a way of its own"
    return None


class OnScript:
    """Ops that write `script`.

    x: of each batch; hole: what stands for it where it is another array at each run, else None.
    """

    Workspace = on_numpy.Workspace
    empty_logits = staticmethod(on_numpy.empty_logits)

    def __init__(self, script: Script, x: Array, hole: Hole | None) -> None:
        self.script, self._x, self._hole = script, x, hole

    def dot(self, a: Array, b: Array, out: Array) -> Array:
        """out = a @ b, matrices."""
        (m, k), n = a.shape, b.shape[1]
        (a_as, a_step), (b_as, b_step) = _operand(a), _operand(b)
        if self._hole and (a is self._x or a.base is self._x):
            a = self._hole
        self.script.call("gemm", a_as, b_as, m, n, k, a, a_step, b, b_step, out, n)
        return out

    def add_dot(self, a: Array, b: Array, out: Array) -> None:
        raise NotImplementedError("gradients that are added to others are not noted")

    def logits(self, x: Array, W: Array, out: Array) -> Array:
        (rows, features), classes = x.shape, W.shape[1]
        (a_as, a_step), (b_as, b_step) = _operand(W.T), _operand(x.T)
        given = self._hole if self._hole and x is self._x else x
        sizes = (classes, rows, features)
        self.script.call("gemm", a_as, b_as, *sizes, W, a_step, given, b_step, out.T, rows)
        return out

    def bias_act(
        self, z: Array, b: Array | None, y: Array, after: After, work: on_numpy.Workspace
    ) -> None:
        whole = after.act in WHOLE
        if b is not None:
            self._pass("biased", (y, z), (b,), WHOLE.index(after.act) if whole else 0)
        elif z is not y:
            self.script.call("copied", z.size, z, y)
        if not whole or b is None:
            self._act(y, after)
        self._drop(y, after, work)

    def bias_act_backward(
        self, g: Array, seen: Array, b: Array | None, db: Array | None, after: After, add: bool,
        work: on_numpy.Workspace,
    ) -> None:  # fmt: skip
        self._activated_backward(g, seen, after, work)
        if db is not None:
            self._sums(work.ones, g, db)

    def batch_norm(
        self, layer: BatchNorm, z: Array, b: Array | None, y: Array, mean: Array, inv: Array,
        after: After, work: on_numpy.Workspace,
    ) -> None:  # fmt: skip
        call, (rows, n), squares, var = self.script.call, z.shape, work.like(z), work.like(inv, 3)
        self._sums(work.share, z, mean)
        self._pass("squares", (z, squares), (mean,))
        self._sums(work.share, squares, var)
        call("inverse", n, var, float(layer.eps), inv)
        if layer.track:
            keep, take = float(1 - layer.momentum), float(layer.momentum)
            unbiased = float(layer.momentum * (rows / (rows - 1)))
            call("tracked", n, layer.running_mean, keep, take, mean, b)
            call("tracked", n, layer.running_var, keep, unbiased, var, None)
        vectors = mean, inv, layer.gamma.data, layer.beta.data
        whole = after.act in WHOLE
        self._pass("normalised", (z, y), vectors, WHOLE.index(after.act) if whole else 0)
        if not whole:
            self._act(y, after)
        self._drop(y, after, work)

    def batch_norm_backward(
        self, layer: BatchNorm, g: Array, y: Array, z: Array, mean: Array, inv: Array,
        db: Array | None, after: After, add: bool, work: on_numpy.Workspace,
    ) -> None:  # fmt: skip
        (rows, n), products = g.shape, work.like(z)
        slope, share, factor = (work.like(inv, k) for k in range(3))
        sum_g, sums = layer.beta.grad, layer.gamma.grad
        assert sum_g is not None
        assert sums is not None
        if after.act == "relu":
            self._pass("products", (g, y, z, products), (mean,), self._scale(after, g))
        else:
            self._activated_backward(g, y, after, work)
            self._pass("deviations", (g, z, products), (mean,))
        self._sums(work.ones, g, sum_g)
        self._sums(work.ones, products, sums)
        vectors = sum_g, sums, inv, layer.gamma.data, slope, share, factor
        self.script.call("shares", n, float(rows), *vectors)
        self._pass("combined", (g, z), (mean, slope, share, factor))
        if db is not None:
            self.script.call("zeroed", n, db)

    def softmax_loss(
        self, z: Array, b: Array | None, db: Array | None, labels: Any, losses: Any,
        smoothing: float, share: float, add: bool, work: on_numpy.Workspace,
    ) -> None:  # fmt: skip
        """labels: an array or a Hole. losses: float64, or a Hole: the batch's is its next."""
        (rows, classes), f = z.shape, z.T
        step = float(share / rows)
        chosen, total, logs = (np.empty(rows, z.dtype) for _ in range(3))
        name = "shifted_alone" if b is None else "shifted"
        self._pass(name, (f,), () if b is None else (b,), labels, 0, chosen)
        vectors, sizes, call = (chosen, work.ones, work.classes), (classes, rows), self.script.call
        target = (float(1 - smoothing), float(smoothing / classes))
        places = (total, logs, step, smoothing > 0, *target, losses, work.counters)
        call("entropy", *sizes, f, *vectors, *places)
        self._pass("pulled", (f,), (), labels, 0, total, step)
        if smoothing:
            extra = z.dtype.type(step) * smoothing
            call("smoothed", *sizes, f, labels, float(extra), float(extra / classes))
        if db is not None:
            call("gemv", AS_IT_IS, *sizes, f, work.ones, db)

    def _pass(self, name: str, arrays: Any, vectors: Any, *others: Any) -> None:
        """A function of passes.h."""
        self.script.call(name, *shape_of(arrays[0]), *arrays, *spread(vectors), *others)

    def _sums(self, weights: Array, a: Array, out: Array) -> None:
        """out = weights @ a: a sum over the rows, or a mean."""
        self.script.call("gemv", TRANSPOSED, *a.shape, a, weights, out)

    def _scale(self, after: After, y: Array) -> Array:
        """What dropout multiplies with."""
        return np.full(1, after.drop.scale, y.dtype)

    def _act(self, y: Array, after: After) -> None:
        if after.act is not None:
            self.script.call(after.act, y.size, y)

    def _activated_backward(
        self, g: Array, seen: Array, after: After, work: on_numpy.Workspace
    ) -> None:
        """g, the gradient of dropout(act(x)), becomes that of x."""
        if after.act == "relu":
            self._pass("activated_backward", (g, seen), (), self._scale(after, g))
            return
        if after.act is not None:
            part = 0 < after.drop.threshold < rng.ALL
            scale = float(after.drop.scale) if part else 1.0
            self.script.call(f"{after.act}_backward", g.size, g, seen, scale)
        self._drop(g, after, work)

    def _drop(self, y: Array, after: After, work: on_numpy.Workspace) -> None:
        """y times dropout's mask."""
        drop = after.drop
        if drop.threshold:
            assert isinstance(drop, Drop)
            places = words_of([drop]), self._scale(after, y), work.counters
            self._pass("dropped", (y,), (), *places)


def _operand(a: Array) -> tuple[int, int]:
    """How a product takes a matrix, and how many elements its rows in memory are apart."""
    if a.strides[1] == a.itemsize:
        return AS_IT_IS, a.strides[0] // a.itemsize
    return TRANSPOSED, a.strides[1] // a.itemsize

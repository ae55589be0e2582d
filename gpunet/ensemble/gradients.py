"""Loss and gradients of all models of a stack, a batch for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import counters
from gpunet.backend import Array
from gpunet.ensemble.dropout import dropouts
from gpunet.ensemble.stack import Stack
from gpunet.fused import plan
from gpunet.fused.after import Dropouts
from gpunet.fused.walk import Stacked
from gpunet.loss import Loss
from gpunet.tensor import Tensor

Gradients = Callable[[Array, Array, Array], None]


class Walked:
    """Fused, on NumPy arrays. found: the plan of a single model."""

    def __init__(self, stack: Stack, found: plan.Plan) -> None:
        self.models, self.plan = len(stack.models), stack.plan(found)
        self._batches: dict[int, Stacked] = {}

    def __call__(self, x: Array, t: Array, losses: Array) -> None:
        """The gradients of a batch, each in its place, and the models' losses before the update.

        Args:
            x: (models, rows, features). t: integer labels (models, rows). losses: float64
                (models,), written.
        """
        rows = x.shape[-2]
        if rows not in self._batches:
            self._batches[rows] = Stacked(self.plan, rows, np, self.models)
        batch = self._batches[rows]
        if self.plan.rescale is not None or x.dtype != self.plan.dtype:
            x = batch.converted(x)
        batch.run(x, t, losses, counters.array(np), 1.0, False)


class Taped:
    """On the tape: any loss, and any device."""

    def __init__(self, stack: Stack, loss: Loss) -> None:
        self.stack, self.loss = stack, loss

    def __call__(self, x: Array, t: Array, losses: Array) -> None:
        """As `Walked`'s; t: (models, rows, ...), whatever the loss takes.

        TypeError for a loss that does not keep the models apart.
        """
        stack = self.stack
        stack.arrays["grad"].fill(0)
        z: Any = Tensor(x)
        for layer in stack.layers:
            drops = isinstance(layer, Dropouts)
            z = dropouts(z, drops=layer.next_drops()) if drops else layer(z)
        loss = self.loss(z, t)
        if loss.shape != losses.shape:
            raise TypeError(
                f"the loss of {losses.size} models must have shape {losses.shape}, a number for "
                f"each, got {loss.shape}; take the mean over the last two axes only"
            )
        loss.backward(stack.xp.ones(losses.shape, loss.dtype))
        losses[...] = loss.data

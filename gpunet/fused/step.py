"""Step: forward, loss, backward and update in one call, fused where the model allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.fused import plan
from gpunet.fused.device import DeviceStep
from gpunet.fused.host import HostStep
from gpunet.loss import as_loss
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor


class Step:
    """One training step of `model`, as a function: `loss = step(x, t)`.

    It does what `optimizer.zero_grad()`, `loss(model(x), t).backward()` and `optimizer.step()` do,
    to rounding; a plain chain of Affine, BatchNorm, activation and Dropout under SoftmaxWithLoss
    runs fused, without the tape: few launches on a GPU, few calls and no temporaries on a CPU.

    Args:
        model, loss, optimizer: as for a `Trainer`. A custom layer or loss runs on the tape.
        fuse: False keeps the tape in any case.

    Attributes:
        reason: why this model runs on the tape, None if it is fused. (While a layer is watched,
            frozen or in evaluation mode, a fused one uses the tape too.)
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        *,
        fuse: bool = True,
    ) -> None:
        self.model, self.loss, self.optimizer = model, as_loss(loss), optimizer
        found = plan.read(model, self.loss) if fuse else "fuse=False"
        if isinstance(found, plan.Plan):
            own = {id(p) for p in found.parameters}
            if own != {id(p) for p in optimizer.parameters}:
                found = "model and optimizer do not hold the same parameters"
        self.reason = found if isinstance(found, str) else None
        self._plan = None if isinstance(found, str) else found
        self.host = HostStep(self._plan) if self._plan else None
        self.device = DeviceStep(self._plan) if self._plan else None

    def __call__(self, x: Any, t: Any) -> Array:
        """One update. Returns the batch's mean loss before it: an array of shape (), on a GPU
        float64.

        Args:
            x: (batch, features). t: (batch,) integer labels. NumPy or CuPy arrays on the model's
                device; for a model that is not fused, whatever it and its loss take.

        Raises: what model, loss and `optimizer.step()` raise.
        """
        loss = self.gradients(x, t)
        self.optimizer.step()
        return loss

    def gradients(self, x: Any, t: Any, share: Any = None, add: bool = False) -> Array:
        """The loss of a batch and its gradients, without an update.

        Args:
            share: the gradients are multiplied by it (a batch's part in an accumulated update).
            add: add to the gradients that are there instead of overwriting them.
        """
        fused = self.host if type(x) is np.ndarray else self.device
        if fused is not None and self.holds() and fused.accepts(x, t):
            return fused.gradients(x, t, 1.0 if share is None else share, add)
        return self.tape(x, t, share, add)

    def holds(self) -> bool:
        """The plan still says what the layers do, and the gradients have their places."""
        return self._plan is not None and self._plan.holds() and not self.optimizer.lost()

    def tape(
        self,
        x: Any,
        t: Any,
        share: Any = None,
        add: bool = False,
        forward: Callable[[Any, Any, Any], Tensor] | None = None,
    ) -> Array:
        """As `gradients`, on the tape; forward(x, t, loss) may stand for loss(model(x), t)."""
        if not add:
            self.optimizer.zero_grad()
        loss = forward(x, t, self.loss) if forward else self.loss(self.model(x), t)
        if share is None:
            loss.backward()
        else:
            loss.backward(array_module(loss.data).full(loss.shape, share, loss.dtype))
        data: Array = loss.data
        return data

"""Step: forward, loss, backward and update in one call, fused where the model allows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.backend import Array, array_module
from gpunet.fused import plan
from gpunet.fused.scripted import Scripted
from gpunet.fused.walk import Fused
from gpunet.layer import Layer
from gpunet.loss import as_loss
from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.tensor import Tensor

WEIGHTED = "the rows have weights"


class Step:
    """One training step of `model`, as a function: `loss = step(x, t)`.

    It does what `optimizer.zero_grad()`, `loss(model(x), t).backward()` and `optimizer.step()` do,
    to rounding; a plain chain of Affine, BatchNorm, activation and Dropout under SoftmaxWithLoss
    runs fused, without the tape: few launches on a GPU, few calls and no large
    temporaries on a CPU.

    Args:
        model, loss, optimizer: as for a `Trainer`. A custom layer or loss runs on the tape.
        fuse: False keeps the tape in any case.

    Attributes:
        reason: why this model runs on the tape, None if it is fused. (While a layer is watched,
            frozen or in evaluation mode, a fused one uses the tape too; and for batches with
            weights, the first of which is noted here.)
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        *,
        fuse: bool = True,
    ) -> None:
        self.model, self.loss, self.optimizer = model, as_loss(loss), as_optimizer(optimizer)
        self.fuse = fuse
        self._known = {id(p): p for p in (*optimizer.parameters, *_parameters(model))}
        found = plan.read(model, self.loss) if fuse else "fuse=False"
        if isinstance(found, plan.Plan):
            own = {id(p) for *_, p in found.parameters}
            if own != {id(p) for p in optimizer.parameters}:
                found = "model and optimizer do not hold the same parameters"
        self.reason = found if isinstance(found, str) else None
        self.fused = None if isinstance(found, str) else Fused(found)
        self._shape: Any = None
        self._alone: threads.Alone | None = None
        self._scripted: Scripted | None = None

    def _meet(self, shape: Any) -> None:
        """Batches of another shape: choose BLAS's threads for them, as long as this step lives."""
        self._shape = shape
        small = bool(shape) and threads.is_small(self.model, shape[0])
        self._alone = (self._alone or threads.Alone()) if small else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew, from copies of model, loss and optimizer."""
        return partial(type(self), fuse=self.fuse), (self.model, self.loss, self.optimizer)

    def __call__(self, x: Any, t: Any, weight: Any = None) -> Array:
        """One update. Returns the batch's mean loss before it: a float64 array of shape ().

        Args:
            x: (batch, features). t: (batch,) integer labels. NumPy or CuPy arrays on the model's
                device; for a model that is not fused, whatever it and its loss take.
            weight: (batch,), what each row counts in the mean; see `gpunet.losses`.

        Raises:
            RuntimeError: the model has got a parameter since the step was made, which the
                optimizer would not train.
            And what model, loss and `optimizer.step()` raise.
        """
        shape = getattr(x, "shape", None)
        if shape != self._shape:
            self._meet(shape)
        loss = self._by_script(x, t) if weight is None else None
        if loss is None:
            loss = self.gradients(x, t, weight=weight)
            self.optimizer.step()
        return loss

    def _by_script(self, x: Any, t: Any) -> Array | None:
        """The whole step by one call, and its loss; None, and nothing done, where it cannot be."""
        fused = self.fused
        if fused is None or type(x) is not np.ndarray or not self.holds():
            return None
        if not fused.is_compiled(x) or not fused.accepts(x, t):
            return None
        if self._scripted is None:
            self._scripted = Scripted(fused.plan, self.optimizer)
        return self._scripted.once(*fused.taken(x, t))

    def gradients(
        self, x: Any, t: Any, share: Any = None, add: bool = False, weight: Any = None
    ) -> Array:
        """The loss of a batch and its gradients, without an update.

        Args:
            share: the gradients are multiplied by it (a batch's part in an accumulated update).
            add: add to the gradients that are there instead of overwriting them.
            weight: as in a call.
        """
        if weight is not None:
            self.reason = self.reason or WEIGHTED
            return self.tape(x, t, share, add, weight)
        fused = self.fused
        if fused is not None and self.holds():
            loss = fused.gradients(x, t, 1.0 if share is None else share, add)
            if loss is not None:
                return loss
        return self.tape(x, t, share, add)

    def holds(self) -> bool:
        """The plan still says what the layers do, and the gradients have their places."""
        return self.fused is not None and self.fused.plan.holds() and not self.optimizer.lost()

    def tape(
        self, x: Any, t: Any, share: Any = None, add: bool = False, weight: Any = None
    ) -> Array:
        """As `gradients`, on the tape."""
        self._refuse_new_parameters()
        if not add:
            self.optimizer.zero_grad()
        z = self.model(x)
        loss = self.loss(z, t) if weight is None else self.loss(z, t, weight)
        if share is None:
            loss.backward()
        else:
            loss.backward(array_module(loss.data).full(loss.shape, share, loss.dtype))
        value: Array = loss.data.astype(np.float64)
        return value

    def _refuse_new_parameters(self) -> None:
        if not all(id(p) in self._known for p in _parameters(self.model)):
            named = self.model.named_parameters()
            name, new = next((name, p) for name, p in named if id(p) not in self._known)
            raise RuntimeError(
                f"{name}, of shape {tuple(new.shape)}, has come into the model since this step was "
                "made, and its optimizer does not train it; make the optimizer and the step anew, "
                f"or change the old parameter's values by {name}.data = ..."
            )


def as_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, or None; TypeError, saying what to write, for its name or its class."""
    if optimizer is None or isinstance(optimizer, Optimizer):
        return optimizer
    name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", "")
    kind = OPTIMIZERS.get(str(name).lower())
    known = kind is not None and (isinstance(optimizer, str) or optimizer is kind)
    example = kind.__name__ if kind is not None and known else "Adam"
    raise TypeError(
        f"optimizer must be an Optimizer, got {optimizer!r}; write gn.{example}(model.parameters())"
    )


def _parameters(model: Any) -> list[Any]:
    return model.parameters() if isinstance(model, Layer) else []

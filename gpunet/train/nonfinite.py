"""Finding where a training first met an infinite number or a nan."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array
from gpunet.context import observe
from gpunet.fused.step import Step
from gpunet.layer import Layer
from gpunet.tensor import Tensor
from gpunet.where import all_finite

ADVICE = (
    "try a smaller learning rate, clip_norm=1.0, or look for extreme values in this batch; "
    'on_nonfinite="ignore" trains on'
)


class NonFiniteError(ArithmeticError):
    """The loss, a parameter or a running statistic became infinite or nan.

    Attributes:
        epoch, step: from 1; a step is one update.
        place: what went bad first, such as "the output of layer 2 (ReLU)".
    """

    def __init__(self, epoch: int, step: int, place: str) -> None:
        self.epoch, self.step, self.place = epoch, step, place
        super().__init__(epoch, step, place)

    def __str__(self) -> str:
        return (
            f"training became non-finite in epoch {self.epoch}, step {self.step}: first in "
            f"{self.place}; {ADVICE}"
        )


class Watch:
    """Looks at everything in one step: `place` is the first that is not finite, or None.

    The trainer calls `batch` for each batch, then `parameters`.
    """

    def __init__(self, model: Layer) -> None:
        self.place: str | None = None
        self._model = model
        self._names = {id(k): f"layer {name} ({type(k).__name__})" for name, k in _layers(model)}
        self._outputs: list[tuple[str, Tensor]] = []

    def batch(
        self, step: Step, x: Array, t: Array, share: Any, add: bool, weight: Array | None = None
    ) -> Array:
        """`step.tape`, noting the first layer, or the loss, with a bad output, and then what each
        layer passed back, the last layer first, and the parameters' gradients.
        """
        self._outputs.clear()
        with observe(self._see):
            value = step.tape(x, t, share, add, weight)
        self._note(value, "the loss")
        self._gradients()
        return value

    def _gradients(self) -> None:
        source = "the loss"
        for name, y in reversed(self._outputs):
            if y.grad is not None:
                self._note(y.grad, f"the gradient that {source} passed back")
            source = name
        for name, p in reversed(list(self._model.named_parameters())):
            if p.grad is not None:
                self._note(p.grad, f"the gradient of {name}, shape {tuple(p.shape)}")

    def parameters(self) -> None:
        """After the update: the parameters, and what the forward pass left in the buffers."""
        for name, buffer in self._model.named_buffers():
            self._note(buffer, f"the buffer {name}")
        for name, p in self._model.named_parameters():
            self._note(p.data, f"the update of {name}, shape {tuple(p.shape)}")

    def _see(self, layer: Layer, y: Tensor) -> None:
        # A loss is a layer too, but none of the model's; a container hands on its last layer's y.
        name = self._names.get(id(layer))
        if name is not None and not any(y is seen for _, seen in self._outputs):
            self._note(y.data, f"the output of {name}")
            self._outputs.append((name, y.retain_grad()))

    def _note(self, array: Array, place: str) -> None:
        if self.place is None and not all_finite([array]):
            self.place = place


def _layers(model: Layer) -> list[tuple[str, Layer]]:
    """The model's layers by name; a model that is one layer only is called "itself"."""
    return [("itself", model), *model.named_layers()]

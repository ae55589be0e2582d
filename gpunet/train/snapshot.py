"""A copy of everything that a training step changes, to go back to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gpunet.backend import Array, device_of, to_device
from gpunet.layer import Layer
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor


class Snapshot:
    """Parameters, buffers and counters of `model`; with `optimizer`, its state too.

    Copies stay on the device; taking it again reuses them.

    copies: arrays for them, of the buffers and then of the parameters; None takes new memory.
    """

    def __init__(
        self,
        model: Layer,
        optimizer: Optimizer | None = None,
        copies: Sequence[Array] | None = None,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        layers = [model, *(layer for _, layer in model.named_layers())]
        self._counters = [(layer, name) for layer in layers for name in layer.counts]
        self._buffers = [(layer, name) for layer in layers for name in layer.buffers]
        self._parameters = model.parameters()
        self._copies = [a.copy() for a in self._arrays()] if copies is None else copies
        if copies is None:
            self.count()
        else:
            self.take()

    def _arrays(self) -> list[Array]:
        """Where they lie now: in an ensemble a model may move."""
        buffers = [getattr(layer, name) for layer, name in self._buffers]
        if self._optimizer is None:
            return buffers + [p.data for p in self._parameters]
        return buffers + self._optimizer.buffers()

    def take(self) -> None:
        """Remember the present."""
        for copy, array in zip(self._copies, self._arrays(), strict=True):
            copy[...] = array
        self.count()

    def restore(self) -> None:
        """Back to what was remembered, in place."""
        for copy, array in zip(self._copies, self._arrays(), strict=True):
            array[...] = copy
        for p in self._parameters:
            p.touch()
        for (layer, name), count in zip(self._counters, self._counts, strict=True):
            setattr(layer, name, count)
        if self._optimizer is not None:
            self._optimizer.t = self._t

    def state_dict(self) -> dict[str, Any]:
        """What is remembered: {"arrays", "counts", "t"}, copies."""
        return {
            "arrays": [copy.copy() for copy in self._copies],
            "counts": list(self._counts),
            "t": self._t,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember that instead, on whatever device it is."""
        for copy, array in zip(self._copies, state["arrays"], strict=True):
            copy[...] = to_device(array, device_of(copy))
        self._counts, self._t = list(state["counts"]), state["t"]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Afterwards back to what was remembered; each layer's mode, and the gradients, back to
        what they were at the beginning.
        """
        optimized = [] if self._optimizer is None else self._optimizer.parameters
        with self._model.same_modes(), same_values([*self._model.parameters(), *optimized]):
            try:
                yield
            finally:
                self.restore()

    def count(self) -> None:
        """Remember the counters of the present, on the host."""
        self._counts = [getattr(layer, name) for layer, name in self._counters]
        self._t = self._optimizer.t if self._optimizer is not None else 0


@contextmanager
def same_values(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Afterwards values and gradients of these leaves are what they are now."""
    kept = [(t, t.data.copy(), None if t.grad is None else t.grad.copy()) for t in tensors]
    try:
        yield
    finally:
        for tensor, data, grad in kept:
            tensor.data[...] = data
            tensor.grad = grad

"""A copy of everything that a training step changes, to go back to."""

from __future__ import annotations

from gpunet.backend import Array
from gpunet.layer import Layer
from gpunet.layers import Dropout
from gpunet.optim import Optimizer


class Snapshot:
    """Parameters, buffers and dropout counters of `model`; with `optimizer`, its state too.

    Copies stay on the device; taking it again reuses them.
    """

    def __init__(self, model: Layer, optimizer: Optimizer | None = None) -> None:
        layers = [model, *(layer for _, layer in model.named_layers())]
        self._optimizer = optimizer
        self._dropouts = [layer for layer in layers if isinstance(layer, Dropout)]
        self._arrays: list[Array] = [buffer for _, buffer in model.named_buffers()]
        if optimizer is None:
            self._arrays += [p.data for p in model.parameters()]
        else:
            self._arrays += optimizer.buffers()
        self._copies = [array.copy() for array in self._arrays]
        self._count()

    def take(self) -> None:
        """Remember the present."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            copy[...] = array
        self._count()

    def restore(self) -> None:
        """Back to what was remembered, in place."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            array[...] = copy
        for layer, calls in zip(self._dropouts, self._calls, strict=True):
            layer.calls = calls
        if self._optimizer is not None:
            self._optimizer.t = self._t

    def _count(self) -> None:
        self._calls = [layer.calls for layer in self._dropouts]
        self._t = self._optimizer.t if self._optimizer is not None else 0

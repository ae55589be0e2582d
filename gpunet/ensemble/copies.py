"""All that a step of several models changes, to go back to for one of them."""

from __future__ import annotations

from gpunet.containers import flat
from gpunet.ensemble.stack import Stack


class Copies:
    """What `gpunet.train.snapshot.Snapshot` has of one model, of all in a stack: a copy of each
    array, however many models there are.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._arrays = [a for name, a in stack.arrays.items() if name != "grad"]
        self._arrays += stack.statistics()
        self._copies = [array.copy() for array in self._arrays]
        self._counters = [
            [(layer, name) for layer in flat(model) for name in layer.counts]
            for model in stack.models
        ]
        self._count()

    def take(self) -> None:
        """Remember the present."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            copy[...] = array
        self._count()

    def restore(self, k: int) -> None:
        """Model k goes back to what was remembered, in place."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            array[k] = copy[k]
        for (layer, name), count in zip(self._counters[k], self._counts[k], strict=True):
            setattr(layer, name, count)
        optimizer = self._stack.optimizers[k]
        optimizer.t = self._ts[k]
        optimizer.advance(0, 0)  # the parameters have changed

    def _count(self) -> None:
        self._counts = [[getattr(*one) for one in own] for own in self._counters]
        self._ts = [optimizer.t for optimizer in self._stack.optimizers]

"""Numbers of several models to go back to for one of them, copied for many at once."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.backend import Array
from gpunet.containers import flat
from gpunet.ensemble.stack import Stack
from gpunet.layer import Layer
from gpunet.train.snapshot import Snapshot


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


class Kept:
    """The snapshots of all models of a fit, a row for each: of those who take one between two calls
    of `copy` the rows are copied at once.
    """

    def __init__(self, stack: Stack) -> None:
        self._copies = [a.copy() for a in _numbers(stack)]
        self._rows = {id(model): k for k, model in enumerate(stack.models)}
        self._free = {id(model): self._parts(stack, k) for k, model in enumerate(stack.models)}
        self._asked: list[Layer] = []

    def _parts(self, stack: Stack, k: int) -> list[Array]:
        """The copies of model k, array by array."""
        param, *buffers = (a[k] for a in self._copies)
        arena = stack.optimizers[k].arenas[0]
        places = {id(p): place for p, place in arena.places_in(slice(0, arena.data.size))}
        parameters = stack.models[k].parameters()
        return buffers + [param[places[id(p)]].reshape(p.shape) for p in parameters]

    def snapshot(self, model: Layer) -> Snapshot:
        """One of this model; a second one has memory of its own."""
        free = self._free.pop(id(model), None)
        return Snapshot(model) if free is None else _Row(model, free, self._asked)

    def copy(self, stack: Stack) -> None:
        """Copy what is asked for. stack: where the models who asked are now."""
        if self._asked:
            places = {id(model): k for k, model in enumerate(stack.models)}
            rows = stack.xp.asarray([(self._rows[id(m)], places[id(m)]) for m in self._asked])
            for copy, array in zip(self._copies, _numbers(stack), strict=True):
                copy[rows[:, 0]] = array[rows[:, 1]]
            self._asked.clear()


class _Row(Snapshot):
    """One that is taken when `Kept.copy` is called next."""

    def __init__(self, model: Layer, copies: Sequence[Array], asked: list[Layer]) -> None:
        self._asked, self._own = asked, model
        super().__init__(model, copies=copies)

    def take(self) -> None:
        self._asked.append(self._own)
        self.count()


def _numbers(stack: Stack) -> list[Array]:
    """What a snapshot of a model has, of all: parameters and running statistics."""
    return [stack.arrays["param"], *stack.statistics()]

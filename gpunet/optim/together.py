"""One update of many optimizers of one kind, which work on rows of the same arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gpunet import counters
from gpunet.backend import Array
from gpunet.optim.base import Optimizer
from gpunet.optim.kernel import Arrays, norms_of, norms_of_rows
from gpunet.optim.native import Loop
from gpunet.optim.parts import Part
from gpunet.optim.rows import ROWS


class Together:
    """Updates `optimizers`, each as its own `step` would, to the last bit.

    Args:
        optimizers: of one class, each with one arena.
        arrays: "param", "grad" and the states by name, 2-D and C-contiguous.
        rows: which row has the arena of which optimizer.

    Where there is a compiled loop one call of it updates all, each part with its own scalars; else
    NumPy takes the optimizers one by one.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], arrays: Mapping[str, Array], rows: Sequence[int]
    ) -> None:
        self.optimizers, self.kernel = list(optimizers), optimizers[0].kernel
        self._models, size = arrays["param"].shape
        self._at, self._starts = list(rows), [row * size for row in rows]
        flat = {name: array.reshape(-1) for name, array in arrays.items()}
        self._arrays, self._whole = arrays, Arrays(flat.pop("grad"), flat)
        self._ordered = self.kernel.in_order(self._whole)[1]
        self._loop: Loop | None = None
        self._parts: list[list[Part]] = []
        self._numbers: list[Array] = []

    def leave(self, row: int) -> None:
        """No further update of the optimizer whose arena is there."""
        place = self._at.index(row)
        del self.optimizers[place], self._at[place], self._starts[place]

    def ready(self, steps: int) -> None:
        """Before the next `steps` updates: compute their scalars. ValueError for a bad schedule."""
        self._parts = [optimizer.parts() for optimizer in self.optimizers]
        each = list(zip(self._parts, self._starts, strict=True))
        places = [(at + p.place.start, at + p.place.stop) for own, at in each for p in own]
        blocks = [block for own in self.coming(steps) for block in own]
        self._ends = np.array(places, np.int64).reshape(-1, 2)
        width = len(self.kernel.row_names) + 1
        numbers = np.zeros((steps, len(places), width), self._whole.dtype)
        for k, block in enumerate(blocks):
            numbers[:, k, :-1] = block
        self._numbers = list(numbers)

    def __call__(self) -> None:
        """The next of the updates that were prepared."""
        numbers = self._numbers.pop(0)
        loop = self._loop = self._loop or self.kernel.together(self._whole)
        norms = [self._norm(optimizer) for optimizer in self.optimizers] if self._clips() else []
        if loop is None:
            self._one_by_one(norms)
        else:
            if norms:
                pairs = zip(norms, self._parts, strict=True)
                each = [0 if norm is None else norm[0] for norm, parts in pairs for _ in parts]
                numbers[:, -1] = each
            loop.runs(self._ends, numbers, self._ordered)
        for optimizer in self.optimizers:
            optimizer.t += 1

    def coming(self, steps: int) -> list[list[Array]]:
        """The scalars of each optimizer's next updates: of each part float64 (steps, scalars).
        ValueError for a bad schedule.
        """
        parts = [optimizer.parts() for optimizer in self.optimizers]
        pairs = zip(self.optimizers, parts, strict=True)
        found = iter(_ahead([(optimizer, p) for optimizer, own in pairs for p in own], steps))
        return [[next(found) for _ in own] for own in parts]

    def _clips(self) -> bool:
        return any(optimizer.clip_norm is not None for optimizer in self.optimizers)

    def _norm(self, optimizer: Optimizer) -> Array | None:
        """Of its gradients, where it clips by it."""
        found = norms_of(optimizer.gradients()) if optimizer.clip_norm is not None else {}
        return found.get(self._whole.dtype)

    def _one_by_one(self, norms: Sequence[Array | None]) -> None:
        for k, (optimizer, parts) in enumerate(zip(self.optimizers, self._parts, strict=True)):
            for part in parts:
                norm = norms[k] if norms else None
                optimizer.fill_rows(part)
                self.kernel.update(part, part.rows[optimizer.t + 1], norm)


class Launched(Together):
    """The same on a GPU: a launch for all decayed elements and one for the others, however many
    optimizers there are. It takes part in captured steps, as an optimizer does.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], arrays: Mapping[str, Array], rows: Sequence[int]
    ) -> None:
        super().__init__(optimizers, arrays, rows)
        self._tables: dict[tuple[int, int], Array] = {}  # (ROWS, models, scalars), by range
        self._sent: list[Array] = []  # kept: a copy to the device may read it later
        self._cuts: list[tuple[Arrays, Array]] = []
        self._next = 0  # row of the tables, where nothing counts on the device

    def ready(self, steps: int) -> None:
        """As Together's. ValueError where some models have a frozen parameter that others train."""
        self._next = 0
        self._fill(steps, 0)

    def __call__(self) -> None:
        """The next of the updates: of those that were made ready, or in a captured step."""
        captured = counters.current()
        if captured is not None:
            known = id(self) in captured.members  # those are prepared before every launch
            captured.enter(self)
            if not known:
                self.prepare(captured, 1)
        norm = norms_of_rows(self._pieces()) if self._clips() else None
        at = self._next if captured is None else 0
        for arrays, table in self._cuts:
            self.kernel.update_models(arrays, (table, at), norm)
        if captured is None:
            self._next += 1
            for optimizer in self.optimizers:
                optimizer.t += 1

    def _pieces(self) -> list[Array]:
        """The gradients that an optimizer takes the norm of, of all models."""
        arena, grad = self.optimizers[0].arenas[0], self._arrays["grad"]
        return [grad[:, run] for run in arena.trained(slice(0, grad.shape[1]))]

    def _ranges(self) -> dict[tuple[int, int], list[Part]]:
        """What each launch updates of every row: the parts of all optimizers."""
        parts = [optimizer.parts() for optimizer in self.optimizers]
        cuts = sorted({end for own in parts for p in own for end in (p.place.start, p.place.stop)})
        found = {}
        for start, stop in pairwise(cuts):
            over = [[p for p in own if p.place.start <= start < p.place.stop] for own in parts]
            if not any(over):
                continue
            if not all(over):
                raise ValueError(
                    "a parameter is frozen in some models of the ensemble only; on a GPU freeze it "
                    "in all of them, or in none"
                )
            found[start, stop] = [part for part, *_ in over]
        return found

    def _fill(self, steps: int, first: int) -> None:
        """The scalars of the next updates, in the tables' rows from `first` on."""
        places = (first + np.arange(steps)) % ROWS
        self._cuts, self._sent = [], []
        for (start, stop), parts in self._ranges().items():
            width = len(self.kernel.row_names)
            host = np.zeros((steps, self._models, width), self._whole.dtype)
            blocks = _ahead(list(zip(self.optimizers, parts, strict=True)), steps)
            for row, block in zip(self._at, blocks, strict=True):
                host[:, row] = block
            if (start, stop) not in self._tables:
                shape = (ROWS, self._models, width)
                self._tables[start, stop] = self._whole.xp.zeros(shape, self._whole.dtype)
            table = self._tables[start, stop]
            whole = min(steps, ROWS - places[0])  # rows up to the table's end
            for at, rows in ((places[0], host[:whole]), (0, host[whole:])):
                if len(rows):
                    table[at : at + len(rows)].set(rows)
            self._sent.append(host)
            arrays = {name: a[:, start:stop] for name, a in self._arrays.items()}
            self._cuts.append((Arrays(arrays.pop("grad"), arrays), table))

    # In a captured step; see gpunet.counters

    def prepare(self, captured: counters.Counters, steps: int) -> None:
        """As `ready`, where the device counts the updates."""
        self._fill(steps, captured.now[counters.UPDATE])

    def advance(self, updates: int, calls: int) -> None:
        """Count updates that a captured step made."""
        for optimizer in self.optimizers:
            optimizer.advance(updates, calls)

    def dependencies(self) -> Callable[[], Any]:
        """What is fixed when a step is captured: its launches, and whether a norm is taken."""
        return lambda: (self._clips(), list(self._ranges()))

    def places(self) -> None:
        """Nothing: the parts say where arrays lie."""


def _ahead(pairs: Sequence[tuple[Optimizer, Part]], steps: int) -> list[Array]:
    """(steps, scalars) of each. What differs in its learning rate alone is computed at once."""
    rates: dict[Hashable, dict[Any, int]] = {}
    found: dict[Hashable, Array] = {}
    wanted = []
    for optimizer, part in pairs:
        settings = dict(part.settings)
        lr = settings.pop("lr", None)
        decays = part.decayed or optimizer.decay_all
        clips = optimizer.clip_norm, optimizer.clip_value
        key = optimizer.t, *clips, decays, tuple(settings.items())
        own = rates.setdefault(key, {})
        wanted.append((key, own.setdefault(lr, len(own))))
    for (optimizer, part), (key, _) in zip(pairs, wanted, strict=True):
        if key not in found:
            found[key] = optimizer.ahead(part, steps, list(rates[key]))
    return [found[key][number] for key, number in wanted]

"""One update of many optimizers of one kind, which work on rows of the same arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from gpunet.backend import Array
from gpunet.optim.base import Optimizer
from gpunet.optim.kernel import Arrays, norms_of, norms_of_rows
from gpunet.optim.parts import Part


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
        self.optimizers, self.kernel = optimizers, optimizers[0].kernel
        self._models, size = arrays["param"].shape
        self._at, self._starts = list(rows), [row * size for row in rows]
        flat = {name: array.reshape(-1) for name, array in arrays.items()}
        self._arrays, self._whole = arrays, Arrays(flat.pop("grad"), flat)
        self._parts: list[list[Part]] = []
        self._numbers: list[Array] = []

    def prepare(self, steps: int) -> None:
        """Before the next `steps` updates: compute their scalars. ValueError for a bad schedule."""
        self._parts = [optimizer.parts() for optimizer in self.optimizers]
        self._clips = any(optimizer.clip_norm is not None for optimizer in self.optimizers)
        ends, blocks, known = [], [], {}
        for optimizer, parts, start in zip(self.optimizers, self._parts, self._starts, strict=True):
            for part in parts:
                ends.append((start + part.place.start, start + part.place.stop))
                key = self._depends_on(optimizer, part)
                if key not in known:
                    known[key] = optimizer.ahead(part, steps)
                blocks.append(known[key])
        self._ends = np.array(ends, np.int64).reshape(-1, 2)
        width = len(self.kernel.row_names) + 1
        numbers = np.zeros((steps, len(ends), width), self._whole.dtype)
        for k, block in enumerate(blocks):
            numbers[:, k, :-1] = block
        self._numbers = list(numbers)

    def __call__(self) -> None:
        """The next of the updates that were prepared."""
        numbers, loop = self._numbers.pop(0), self.kernel.together(self._whole)
        norms = [self._norm(optimizer) for optimizer in self.optimizers] if self._clips else []
        if loop is None:
            self._one_by_one(norms)
        else:
            if norms:
                pairs = zip(norms, self._parts, strict=True)
                each = [0 if norm is None else norm[0] for norm, parts in pairs for _ in parts]
                numbers[:, -1] = each
            loop.runs(self._ends, numbers, self.kernel.in_order(self._whole)[1])
        for optimizer in self.optimizers:
            optimizer.t += 1

    def _depends_on(self, optimizer: Optimizer, part: Part) -> Hashable:
        """What the part's scalars are made of: many optimizers may have the same."""
        settings = tuple(part.settings.items())
        decays = part.decayed or optimizer.decay_all
        return optimizer.t, optimizer.clip_norm, optimizer.clip_value, decays, settings

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


class InColumns(Together):
    """The same on a GPU: a launch for all decayed elements and one for the others, however many
    optimizers there are.
    """

    def prepare(self, steps: int) -> None:
        """As Together's. ValueError where some models have a frozen parameter that others train."""
        xp, dtype = self._whole.xp, self._whole.dtype
        parts = [optimizer.parts() for optimizer in self.optimizers]
        cuts = sorted({end for own in parts for p in own for end in (p.place.start, p.place.stop)})
        rows: dict[Hashable, Array] = {}
        self._cuts: list[tuple[Arrays, list[Array]]] = []
        for start, stop in pairwise(cuts):
            over = [[p for p in own if p.place.start <= start < p.place.stop] for own in parts]
            if not any(over):
                continue
            if not all(over):
                raise ValueError(
                    "a parameter is frozen in some models of the ensemble only; on a GPU freeze it "
                    "in all of them, or in none"
                )
            numbers = np.zeros((steps, len(self.kernel.row_names), self._models, 1), dtype)
            for row, optimizer, (part, *_) in zip(self._at, self.optimizers, over, strict=True):
                key = self._depends_on(optimizer, part)
                if key not in rows:
                    rows[key] = optimizer.ahead(part, steps)
                numbers[:, :, row, 0] = rows[key]
            arrays = {name: a[:, start:stop] for name, a in self._arrays.items()}
            placed = list(xp.asarray(numbers))
            self._cuts.append((Arrays(arrays.pop("grad"), arrays), placed))
        self._clips = any(optimizer.clip_norm is not None for optimizer in self.optimizers)

    def __call__(self) -> None:
        """The next of the updates that were prepared."""
        norm = self._whole.grad[:1]  # any number, where nothing clips by it
        if self._clips:
            pieces = [arrays.grad for arrays, _ in self._cuts]
            norm = norms_of_rows(pieces)[:, None]
        for arrays, rows in self._cuts:
            self.kernel.update_columns(arrays, rows.pop(0), norm)
        for optimizer in self.optimizers:
            optimizer.t += 1

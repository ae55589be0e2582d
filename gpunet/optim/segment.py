"""What one launch updates: a slice of an arena with its gradients, parameters and state arrays."""

from __future__ import annotations

from typing import Any

from gpunet.arena import Arena
from gpunet.backend import Array
from gpunet.kernel import Block, blocks
from gpunet.optim.table import Ring, ScalarTable

Hyper = dict[str, Any]
State = dict[str, Array]


class Part:
    """A slice of an arena, updated by one launch: its gradients, parameters and state arrays."""

    def __init__(self, arena: Arena, place: slice, decayed: bool) -> None:
        self.place = place
        self.decayed = decayed
        self.grad = arena.grad[place]
        self.state: State = {"param": arena.data[place]}
        self.rows = ScalarTable(arena.xp, arena.dtype)
        self.ring = Ring(arena.xp, arena.dtype)
        self._blocks: list[Block] = []

    def blocks(self) -> list[Block]:
        """Views of gradient and state, cut for a processor's cache; made once."""
        if not self._blocks:
            self._blocks = blocks(self.grad, self.state)
        return self._blocks


class Segment:
    """One group's parameters of one dtype: the decayed ones, then the others, in one arena."""

    def __init__(self, arena: Arena, group: Hyper, decayed: slice, others: slice) -> None:
        self.arena = arena
        self.group = group
        self.whole = Part(arena, slice(decayed.start, others.stop), decayed=False)
        halves = [Part(arena, decayed, decayed=True), Part(arena, others, decayed=False)]
        self.halves = [part for part in halves if len(part.grad)]

    def launches(self, decay_all: bool) -> list[Part]:
        """One part where all elements are treated alike, else two."""
        if decay_all or not self.group["weight_decay"]:
            return [self.whole]
        return self.halves

    def add_state(self, slot: str, buffer: Array, start: Array | float) -> None:
        """`buffer` is as long as the arena; this segment's part of it starts from `start`."""
        buffer[self.whole.place] = start
        for part in (self.whole, *self.halves):
            part.state[slot] = buffer[part.place]

"""The clock of a captured step: how far a training is, counted on the device.

A CUDA graph repeats its launches with the numbers they were recorded with. What changes from step
to step is therefore read from the device: eight int64, `now` and `next`, each {update, call, row,
batch}. The first kernel of a batch copies `next` to `now`, all others read `now`, and one of them
writes `next`: no kernel reads what it writes.

    update  updates made             row    rows of this epoch's order that are used up
    call    batches run forward      batch  batches of this epoch that are done

Outside a captured step the clock is eight zeros, and the host's numbers count alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from gpunet import context
from gpunet.backend import Array, array_module
from gpunet.kernel import Kernel

UPDATE, CALL, ROW, BATCH = range(4)  # as in kernels/counters.cuh
FIELDS = 4

TICK = Kernel("nn/tick")


class Follower(Protocol):
    """Whoever counts steps on the host, and reads the clock on the device."""

    def prepare(self, clock: Clock, steps: int) -> None:
        """Before `steps` recorded steps run: bring to the device what they will read.

        RuntimeError if they must not run, for what was recorded no longer holds.
        """

    def advance(self, updates: int, calls: int) -> None:
        """After they were launched: count them."""

    def structure(self) -> Callable[[], Any]:
        """A function that tells what a recording depends on and the device cannot follow."""


class Clock:
    """A clock on the device, its copy on the host, and those who go by it.

    Attributes:
        array: int64 (8,) on the device.
        now: what the next batch will find, on the host.
        capturing: launches are recorded, not run; nothing on the host must count them.
    """

    def __init__(self, cupy: ModuleType) -> None:
        self.array: Array = cupy.zeros(2 * FIELDS, np.int64)
        self.now = [0] * FIELDS
        self.capturing = False
        self.followers: dict[int, Follower] = {}
        self.structures: dict[int, Callable[[], Any]] = {}
        self.wanted: set[int] = set()  # `call`, as the followers would have it
        self._counted: set[int] = set()

    def begin(self) -> None:
        """A batch begins."""
        self._counted.clear()

    def follow(self, follower: Follower) -> None:
        """Enter an optimizer or a layer that counts: once a batch, as the clock does."""
        if id(follower) in self._counted:
            raise RuntimeError(
                f"a captured step uses {type(follower).__name__} twice; the clock counts one "
                "update and one call of a layer a batch"
            )
        self._counted.add(id(follower))
        self.followers.setdefault(id(follower), follower)
        self.saw(follower)

    def saw(self, part: Any) -> None:
        """Note what takes part, a layer or an optimizer: what it depends on is looked at again."""
        if id(part) not in self.structures:
            self.structures[id(part)] = part.structure()

    def structure(self) -> list[Any]:
        """What the recordings depend on, as it is now."""
        return [look() for look in self.structures.values()]

    def tick(self, passed: Array) -> None:
        """On the device `next` becomes `now`, and `passed`, int64 (4,), what the batch that begins
        adds to it, is added to `next`. For a batch that no other kernel counts.
        """
        now, next_ = self.array[:FIELDS], self.array[FIELDS:]
        TICK.launch(array_module(self.array), passed=passed, now=now, next=next_)

    def set(self, **fields: int) -> None:
        """Change what the next batch will find; one copy to the device."""
        for name, value in fields.items():
            self.now[("update", "call", "row", "batch").index(name)] = value
        self.array[FIELDS:].set(np.array(self.now, np.int64))

    def advance(self, updates: int, calls: int, rows: int) -> None:
        """Count on the host what the device counts by itself."""
        self.now = [a + b for a, b in zip(self.now, (updates, calls, rows, calls), strict=True)]
        for follower in self.followers.values():
            follower.advance(updates, calls)


_standing: dict[ModuleType, Array] = {}


def recorded() -> Clock | None:
    """The clock of the step that is being recorded in this thread, or None."""
    found: Clock | None = context.current().clock
    return found


def recording(clock: Clock) -> AbstractContextManager[None]:
    """Inside it kernels are launched with `clock`."""
    return context.changed(clock=clock)


def array(cupy: ModuleType) -> Array:
    """What a kernel is launched with: the recorded step's clock, else one that stands still."""
    clock = recorded()
    if clock is not None:
        return clock.array
    if cupy not in _standing:
        _standing[cupy] = cupy.zeros(2 * FIELDS, np.int64)
    return _standing[cupy]

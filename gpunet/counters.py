"""How far a training is, counted on the device: what a captured step reads in place of numbers.

A CUDA graph repeats its launches with the numbers they were captured with. What changes from step
to step is therefore read from the device: eight int64, `now` and `next`, each {update, call, row,
batch}. The first kernel of a batch copies `next` to `now`, all others read `now`, and one of them
writes `next`: no kernel reads what it writes.

    update  updates made             row    rows of this epoch's order that are used up
    call    batches run forward      batch  batches of this epoch that are done

Outside a captured step they are eight zeros, and the host's numbers count alone.
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
from gpunet.parameter import Placing

UPDATE, CALL, ROW, BATCH = range(4)  # as in kernels/counters.cuh
FIELDS = 4

TICK = Kernel("nn/tick")


class Counted(Protocol):
    """An optimizer or a layer, which counts steps on the host and reads the counters on the
    device.
    """

    def prepare(self, counters: Counters, steps: int) -> None:
        """Before `steps` captured steps run: bring to the device what they will read.

        RuntimeError if they must not run, for what was captured no longer holds.
        """

    def advance(self, updates: int, calls: int) -> None:
        """After they were launched: count them."""

    def dependencies(self) -> Callable[[], Any]:
        """A function that gives what a captured step depends on and the device cannot follow."""

    def places(self) -> Any:
        """The same, of what changes only where `gpunet.parameter.Placing` says so."""


class Counters:
    """The counters on the device, their copy on the host, and those who go by them.

    Attributes:
        array: int64 (8,) on the device.
        bases: what a Dropout's calls are beyond `call`, by its id.
        now: what the next batch will find, on the host.
        capturing: launches are captured, not run; nothing on the host must count them.
        members: those who count with them.
        requested_calls: `call`, as the members would have it; more than one cannot be served.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.array: Array = xp.zeros(2 * FIELDS, np.int64)
        self.now = [0] * FIELDS
        self._sent: Array = None  # kept: a copy to the device may read it later
        self.capturing = False
        self.members: dict[int, Counted] = {}
        self.requested_calls: set[int] = set()
        self.bases: dict[int, int] = {}
        self._dependencies: dict[int, Callable[[], Any]] = {}
        self._places: dict[int, Callable[[], Any]] = {}
        self._placed: Any = None  # and when, on the tape's clock
        self._entered: set[int] = set()

    def begin_batch(self) -> None:
        self._entered.clear()

    def enter(self, member: Counted) -> None:
        """An optimizer or a layer that counts takes part: once a batch, as the counters count.

        RuntimeError the second time.
        """
        if id(member) in self._entered:
            raise RuntimeError(
                f"a captured step uses {type(member).__name__} twice; the counters count one "
                "update and one call of a layer a batch"
            )
        self._entered.add(id(member))
        self.members.setdefault(id(member), member)
        self.depend_on(member)

    def depend_on(self, part: Any) -> None:
        """A layer or an optimizer takes part: what it depends on is looked at before a launch."""
        if id(part) not in self._dependencies:
            self._dependencies[id(part)] = part.dependencies()
            self._places[id(part)] = part.places
            self._placed = None

    def dependencies(self) -> list[Any]:
        """What the captured steps depend on, as it is now."""
        if self._placed is None or self._placed[0] != Placing.last:
            now = Placing.last  # before looking: who moves one meanwhile is seen the next time
            self._placed = now, [look() for look in self._places.values()]
        return [self._placed[1], *(look() for look in self._dependencies.values())]

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
        self._sent = np.array(self.now, np.int64)
        if isinstance(self.array, np.ndarray):
            self.array[FIELDS:] = self._sent
        else:
            self.array[FIELDS:].set(self._sent)

    def prepare(self, steps: int) -> bool:
        """Bring to the device what the next steps read. False if Dropouts were called unevenly in
        between, so that the counters cannot count for them all as at the capture.
        """
        requested = self.requested_calls
        requested.clear()
        for member in list(self.members.values()):
            member.prepare(self, steps)
        if len(requested) == 1 and requested != {self.now[CALL]}:
            self.set(call=requested.pop())
        return len(requested) <= 1

    def advance(self, updates: int, calls: int, rows: int) -> None:
        """Count on the host what the device counts by itself."""
        self.now = [a + b for a, b in zip(self.now, (updates, calls, rows, calls), strict=True)]
        for member in self.members.values():
            member.advance(updates, calls)


_zeros: dict[Any, Array] = {}  # by device


def current() -> Counters | None:
    """The counters of the captured step that runs, or is captured, in this thread; or None."""
    found: Counters | None = context.current().counters
    return found


def use(counters: Counters) -> AbstractContextManager[None]:
    """Inside it kernels are launched with `counters`."""
    return context.changed(counters=counters)


def array(xp: Any) -> Array:
    """What a kernel is launched with: a captured step's counters, else zeros."""
    counters = current()
    if counters is not None:
        return counters.array
    device = np if xp is np else (xp, xp.cuda.get_device_id())
    if device not in _zeros:
        _zeros[device] = xp.zeros(2 * FIELDS, np.int64)
    return _zeros[device]

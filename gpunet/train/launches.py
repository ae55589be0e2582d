"""Updates by as few launches as can be: CUDA graphs of many, or one kernel for many."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Hashable, Sequence
from functools import partial
from typing import Any

from gpunet.graphs import CaptureError, Graphs
from gpunet.phases.phased import Phased

# Updates a launch, where so many are alike; and between two reads of the losses, to see whether
# they are finite.
AT_ONCE = 50

Sizes = tuple[int, ...]  # rows of each batch of an update


class Launches:
    """Makes updates that read from the device alone what changes between them.

    Args:
        update: makes one, kernel by kernel.
        capture: as CUDA graphs, up to AT_ONCE updates a launch.
        optional: where a graph cannot be had, go on kernel by kernel, with one warning.

    phased: what takes the updates in phases, where it does.
    """

    phased: Phased | None = None
    _started = False  # a kernel that makes many updates

    def __init__(
        self, cupy: Any, update: Callable[[Sizes], None], capture: bool, optional: bool
    ) -> None:
        self.graphs = Graphs(cupy)
        self.update, self.capture, self.optional = update, capture, optional

    @property
    def how(self) -> str:
        """How updates run, in words."""
        if self.phased and self.phased.is_persistent:
            return f"up to {AT_ONCE} updates in one kernel"
        way = f"graphs of up to {AT_ONCE} updates" if self.capture else "kernel by kernel"
        return f"{way}, in phases" if self.phased else way

    def run(self, sizes: Sequence[int], each: int = 1) -> Generator[int, None, None]:
        """Updates from `each` batches, of which `sizes` tells the rows; yields how many were made
        since the last time.
        """
        done, last = 0, -(-len(sizes) // each)
        while done < last:
            coming = sizes[done * each : (done + AT_ONCE) * each]
            updates = [tuple(coming[k : k + each]) for k in range(0, len(coming), each)]
            count = self._alike(updates)
            self._launch(updates[0], count)
            done += count
            yield count

    def _alike(self, updates: Sequence[Sizes]) -> int:
        """How many of the updates that come the next launch makes: of one graph AT_ONCE of one
        kind, or 1; of one kernel any number.
        """
        sizes = updates[0]
        different = (k for k, other in enumerate(updates) if other != sizes)
        alike = next(different, len(updates))
        phased = self._in_phases(sizes)
        if phased and phased.is_persistent:
            return alike
        ready = self.capture and self.graphs.is_warm(_key(sizes, phased))
        return AT_ONCE if ready and alike == AT_ONCE else 1

    def _in_phases(self, sizes: Sizes) -> Phased | None:
        """The phases, if they take an update from batches of these sizes."""
        phased = self.phased
        return phased if phased and len(sizes) == 1 and phased.holds() else None

    def _once(self, sizes: Sizes, phased: Phased | None) -> None:
        """One update, kernel by kernel."""
        if phased:
            phased.one(sizes[0])
        else:
            self.update(sizes)

    def _by_one_kernel(self, phased: Phased, rows: int, count: int) -> bool:
        """The next `count` updates. False, with a warning, where the very first does not start: of
        a GPU that others use as well the driver may not hold all blocks at once.
        """
        try:
            self.graphs.at_once(partial(phased.many, rows), rows, steps=count)
        except Exception as error:
            if self._started:
                raise
            phased.is_persistent = False
            warnings.warn(
                f"many updates in one kernel cannot be had: {error}; training goes on with a "
                "kernel for each phase",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        self._started = True
        return True

    def _launch(self, sizes: Sizes, count: int) -> None:
        """The next `count` updates."""
        phased, rows, batches = self._in_phases(sizes), sum(sizes), len(sizes)
        if phased and phased.is_persistent:
            if not self._by_one_kernel(phased, rows, count):
                for _ in range(count):
                    self._launch(sizes, 1)
            return
        key, step = _key(sizes, phased), partial(self._once, sizes, phased)
        try:
            if self.capture:
                self.graphs.run(key, step, rows, batches, count)
                return
        except CaptureError as error:
            if not self.optional:
                raise
            self.capture = False
            warnings.warn(
                f"{error}; training goes on kernel by kernel, which capture=False does without "
                "this warning",
                RuntimeWarning,
                stacklevel=2,
            )
        for _ in range(count):
            self.graphs.eager(key, step, rows, batches)


def _key(sizes: Sizes, phased: Phased | None) -> Hashable:
    """Updates of one key launch the same work."""
    return (phased, *sizes) if phased else sizes

"""The updates of an epoch, seen by the guard, shown by the bar, and ended by Ctrl-C."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from gpunet.train.feed import Group
from gpunet.train.guard import Guard
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.updates import ResidentUpdates, Updates

LOOK_EVERY = 50  # updates: how often the losses are read, to see whether they are finite


class Loop:
    """Runs epochs. bar: has `update(batches)`, as one of tqdm's."""

    def __init__(
        self,
        updates: Updates | ResidentUpdates,
        guard: Guard,
        bar: Any,
        interrupt: DeferredInterrupt,
    ) -> None:
        self.updates, self.guard, self.bar, self.interrupt = updates, guard, bar, interrupt

    def run(self, groups: Sequence[Group], epoch: int) -> float | None:
        """All updates of an epoch; the mean loss over its rows, read once at the end. None if
        Ctrl-C ended it early.
        """
        updates, interrupt = self.updates, self.interrupt
        done = looked = batches = 0
        with closing(updates.run(groups)) as running:
            for count in running:
                for group in groups[done : done + count]:
                    done += 1
                    batches += len(group)
                    self.guard.note(group, epoch, done)
                    self.bar.update(len(group))
                if done - looked >= LOOK_EVERY or done == len(groups) or interrupt.requested:
                    self.guard.look(updates.losses[:batches])
                    looked = done
                if interrupt.requested and done < len(groups):
                    return None
        return updates.step.loss.mean(updates.losses[:batches], updates.weights)

"""The updates of an epoch, seen by the guard, shown by the bar, and ended by Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from gpunet.train.groups import Epoch
from gpunet.train.guard import Guard
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.progress import Progress
from gpunet.train.updates import ResidentUpdates, Updates

LOOK_EVERY = 50  # updates: how often the losses are read, to see whether they are finite


class Loop:
    """Runs epochs.

    Args:
        bar: has `update(batches)`, as one of tqdm's.
        watchers: called between two updates.

    whole: False after an error inside an update, from which there was no way back.
    """

    def __init__(
        self,
        updates: Updates | ResidentUpdates,
        guard: Guard,
        bar: Any,
        interrupt: DeferredInterrupt,
        watchers: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.updates, self.guard, self.bar, self.interrupt = updates, guard, bar, interrupt
        self.watchers, self.whole = watchers, True

    def run(self, groups: Epoch, progress: Progress) -> float | None:
        """The epoch's updates from where it is; the mean loss over its rows, read once at the end.
        None if Ctrl-C ended it early.
        """
        updates, interrupt = self.updates, self.interrupt
        done = looked = progress.updates
        with closing(updates.run(groups, progress)) as running:
            while count := self._next(running, progress):
                for group in groups[done : done + count]:
                    done += 1
                    progress.batches += len(group)
                    self.guard.note(group, progress.epoch, done)
                    self.bar.update(len(group))
                progress.updates = done
                ends = done == len(groups) or interrupt.requested
                if ends or done - looked >= LOOK_EVERY:
                    self.guard.look(progress, wait=ends)
                    looked = done
                self.watch()
                if interrupt.requested and done < len(groups):
                    return None
        return updates.step.loss.mean(progress.losses[: progress.batches], progress.weights)

    def watch(self) -> None:
        """Between two updates."""
        for watcher in self.watchers:
            watcher()

    def _next(self, running: Iterator[int], progress: Progress) -> int:
        """How many updates were made next; 0 at the end."""
        try:
            return next(running, 0)
        except Exception:
            self.whole = self.guard.go_back(progress)
            raise

"""Watching over a training: all finite, or back to where it was and a name for what went bad."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from gpunet.fused.step import Step
from gpunet.train.feed import Feed, Group
from gpunet.train.finite import Question
from gpunet.train.nonfinite import NonFiniteError, Watch
from gpunet.train.progress import Progress
from gpunet.train.snapshot import Snapshot
from gpunet.train.updates import Updates
from gpunet.where import all_finite


class Taken(NamedTuple):
    """An update that was made: its batches, and when (from 1)."""

    group: Group
    epoch: int
    step: int


class Guard:
    """Looks every few updates whether all is finite; if not, goes back and finds where it began.

    On a GPU it asks, and hears the answer when it looks again, so that nothing waits: until then
    there are two snapshots, of before and of after the updates in question.

    Args:
        step, feed: what is trained, and on what.
        on_nonfinite: as for a `Trainer`.
    """

    def __init__(self, step: Step, feed: Feed, on_nonfinite: str) -> None:
        self.step, self.feed, self.on_nonfinite = step, feed, on_nonfinite
        ignore = on_nonfinite == "ignore"
        self._good = None if ignore else Snapshot(step.model, step.optimizer)
        self._since: list[Taken] = []  # updates since the good one was taken
        self._asked = 0  # how many of these the question is about
        self._question = Question(feed.xp) if feed.xp is not np and not ignore else None
        self._later: Snapshot | None = None  # taken when it was asked

    def note(self, group: Group, epoch: int, step: int) -> None:
        """An update was made."""
        if self._good is not None:
            self._since.append(Taken(group, epoch, step))

    def look(self, progress: Progress, wait: bool = True) -> None:
        """Look at the losses of the epoch so far, and all that is trained; NonFiniteError or a
        warning if they are bad. Without `wait`, on a GPU, perhaps when it looks the next time.
        """
        self._hear(progress)
        if self._good is None or not self._since:
            return
        model, optimizer = self.step.model, self.step.optimizer
        changed = [a.data for a in optimizer.arenas] + [b for _, b in model.named_buffers()]
        arrays = [progress.losses[: progress.batches], *changed]
        if self._question is None:
            self._conclude(all_finite(arrays), progress)
            return
        self._question.ask(arrays)
        self._asked = len(self._since)
        if wait:
            self._conclude(self._question.answer().all(), progress)
        elif self._later is None:
            self._later = Snapshot(model, optimizer)
        else:
            self._later.take()

    def _hear(self, progress: Progress) -> None:
        """The answer to what was asked and not yet heard."""
        if not self._asked or self._question is None or self._good is None:
            return
        asked, self._asked = self._asked, 0
        if self._question.answer().all():
            assert self._later is not None
            self._good, self._later = self._later, self._good
            del self._since[:asked]
        else:
            self._find(self._good, progress)
            self._since.clear()

    def _conclude(self, fine: bool, progress: Progress) -> None:
        """All updates so far were good, or some were not."""
        assert self._good is not None
        self._asked = 0
        if fine:
            self._good.take()
        else:
            self._find(self._good, progress)
        self._since.clear()

    def go_back(self, progress: Progress) -> bool:
        """After an error inside an update: back to the last look at good ones. False if there is no
        way back.
        """
        if self._good is None:
            return False
        if self._asked and self._question is not None and self._question.answer().all():
            assert self._later is not None
            self._good = self._later
            del self._since[: self._asked]
        self._asked = 0
        self._good.restore()
        self._undo(progress, 1)
        return True

    def _undo(self, progress: Progress, first: int) -> None:
        """The updates from the epoch's `first` on, or since the last look, are not made."""
        undone = [taken for taken in self._since if taken.step >= first]
        progress.undo(len(undone), sum(len(taken.group) for taken in undone))
        self._since.clear()

    def _find(self, good: Snapshot, progress: Progress) -> None:
        """Go back, and make the updates since the last look again, layer by layer."""
        model, optimizer = self.step.model, self.step.optimizer
        present = Snapshot(model, optimizer)
        good.restore()
        before = Snapshot(model, optimizer)
        error = self._first_bad(before)
        if self.on_nonfinite == "raise":
            before.restore()
            optimizer.zero_grad()
            self._undo(progress, error.step)
            raise error
        present.restore()  # on the tape numbers may differ by rounding
        self._good = None
        warnings.warn(str(error), RuntimeWarning, stacklevel=8)

    def _first_bad(self, before: Snapshot) -> NonFiniteError:
        """What went bad first; the model stays where that update left it, `before` at its start."""
        step = self.step
        on_tape = Updates(Step(step.model, step.loss, step.optimizer, fuse=False), self.feed)
        for group, epoch, number in self._since:
            before.take()
            watch = Watch(step.model)
            on_tape.one(group, map(self.feed.rows, group), watch)
            if watch.place is not None:
                return NonFiniteError(epoch, number, watch.place)
        last = self._since[-1]
        return NonFiniteError(last.epoch, last.step, "a step that did not repeat it")

"""Watching over a training: all finite, or back to where it was and a name for what went bad."""

from __future__ import annotations

import warnings
from typing import Any

from gpunet.backend import Array
from gpunet.fused.step import Step
from gpunet.train.feed import Feed, Group
from gpunet.train.nonfinite import NonFiniteError, Watch
from gpunet.train.snapshot import Snapshot
from gpunet.train.updates import Updates
from gpunet.where import all_finite

Trainer = Any  # of gpunet.train.trainer, which imports this module


class Guard:
    """Looks every few steps whether all is finite; if not, goes back and finds where it began."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.on = trainer.on_nonfinite != "ignore"
        self.snapshot = Snapshot(trainer.model, trainer.optimizer) if self.on else None
        self._since: list[tuple[Feed, Group, int, int]] = []

    def saw(self, feed: Feed, group: Group, epoch: int, step: int) -> None:
        if self.on:
            self._since.append((feed, group, epoch, step))

    def check(self, losses: Array) -> None:
        """Read the losses of the epoch so far; NonFiniteError or a warning if they are bad."""
        if self.snapshot is None or not self.on:
            return
        model, optimizer = self.trainer.model, self.trainer.optimizer
        changed = [a.data for a in optimizer.arenas] + [b for _, b in model.named_buffers()]
        if all_finite([losses, *changed]):
            self.snapshot.take()
        else:
            self._find(self.snapshot)
        self._since.clear()

    def _find(self, snapshot: Snapshot) -> None:
        """Replay the steps since the last look, with open eyes."""
        trainer = self.trainer
        present = Snapshot(trainer.model, trainer.optimizer)
        snapshot.restore()
        before = Snapshot(trainer.model, trainer.optimizer)
        error: NonFiniteError | None = None
        for feed, group, epoch, step in self._since:
            before.take()
            watch = Watch(trainer.model)
            on_tape = Step(trainer.model, trainer.loss, trainer.optimizer, fuse=False)
            Updates(on_tape, feed).one(group, map(feed.rows, group), watch)
            if watch.place and error is None:
                error = NonFiniteError(epoch, step, watch.place)
                if trainer.on_nonfinite == "raise":
                    break
        if error is None:
            error = NonFiniteError(epoch, step, "a step that did not repeat it")
        if trainer.on_nonfinite == "raise":
            before.restore()
            trainer.optimizer.zero_grad()
            raise error
        present.restore()  # the replay ran on the tape, whose numbers may differ by rounding
        self.on = False
        warnings.warn(str(error), RuntimeWarning, stacklevel=5)

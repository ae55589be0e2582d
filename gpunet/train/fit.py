"""One fit: its epochs, and what is kept of it, however it ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from gpunet.train.callbacks import Callback
from gpunet.train.evaluation import Scoring
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups
from gpunet.train.history import Row
from gpunet.train.loop import Loop
from gpunet.train.progress import Progress
from gpunet.train.state import Resumable

DONE = "all epochs done"


class Fit:
    """The epochs of `trainer` from `progress` on.

    held_out: the validation data, if there is any. captured: it is evaluated as a CUDA graph.
    """

    def __init__(
        self,
        trainer: Resumable,
        progress: Progress,
        groups: Groups,
        held_out: Feed | None,
        callbacks: Sequence[Callback],
        loop: Loop,
        captured: bool,
    ) -> None:
        self.trainer, self.progress, self.groups = trainer, progress, groups
        self.held_out, self.callbacks, self.loop = held_out, callbacks, loop
        self.scoring = Scoring(trainer.model, trainer.loss, captured, trainer.fuse)
        loop.watchers = [
            partial(callback.on_update, trainer)
            for callback in callbacks
            if type(callback).on_update is not Callback.on_update
        ]

    def rested(self) -> Progress:
        """How far it is, in plain data. NonFiniteError if the last updates were bad."""
        self.loop.guard.look(self.progress)
        return self.progress.rested(self.callbacks)

    def run(self, last: int) -> str:
        """Train up to the epoch `last`; why it ended."""
        progress, history = self.progress, self.trainer.history
        while progress.epoch <= last and not progress.reason:
            self.loop.bar.set_description_str(f"epoch {progress.epoch}/{last}", refresh=False)
            if progress.heard is None:
                row = self._epoch()
                if row is None:
                    return ""
                history.rows.append(row)
                history.kept, progress.heard = progress.epoch, []
                self.loop.bar.set_postfix_str(_shown(row), refresh=False)
            self._tell(history.rows[-1], progress)
            progress.next_epoch()
            self.loop.watch()
            if self.loop.interrupt.requested:
                break
        return progress.reason or DONE

    @contextmanager
    def kept(self) -> Iterator[None]:
        """However what is inside ends, what it came to is kept; see `Callback.on_stop`."""
        trainer, stopped = self.trainer, False
        try:
            yield
            stopped = True
        except Exception:
            stopped = self.loop.whole
            raise
        finally:
            # A second Ctrl-C may have come inside an update: there is nothing to go on from.
            trainer.unfinished = None
            if stopped:
                trainer.unfinished = self.progress
                for callback in self.callbacks:
                    callback.on_stop(trainer)
                trainer.unfinished = self.rested()

    def _tell(self, row: Row, progress: Progress) -> None:
        """Every callback of the row, once, even if one of them fails and the fit goes on later."""
        heard = progress.heard = progress.heard or []
        known = Counter(heard)
        for callback in self.callbacks:
            name = type(callback).__name__
            if known[name]:
                known[name] -= 1
                continue
            heard.append(name)
            reason = callback.on_epoch(self.trainer, row)
            progress.reason = progress.reason or reason or ""

    def _epoch(self) -> Row | None:
        """Its row of the history; None if Ctrl-C ended it early."""
        progress, trainer = self.progress, self.trainer
        progress.start_clock()
        if progress.updates == 0:
            lr = trainer.optimizer.current_lr()
            progress.lr = None if math.isnan(lr) else lr
        trainer.model.train()
        loss = self.loop.run(self.groups.of(trainer.earlier + progress.epoch - 1), progress)
        if loss is None:
            return None
        row: Row = {"epoch": progress.epoch, "train_loss": loss}
        if self.held_out is not None:
            found = self.scoring(self.held_out)
            row |= {f"valid_{name}": value for name, value in found.items()}
        return row | {"lr": progress.lr, "seconds": progress.clock()}


def _shown(row: Row) -> str:
    """The row as the bar has room for it."""
    parts = [f"loss {row['train_loss']:.3g}"]
    if "valid_loss" in row:
        parts.append(f"valid {row['valid_loss']:.3g}")
    if "valid_accuracy" in row:
        parts.append(f"{row['valid_accuracy']:.1%} right")
    return ", ".join(parts)

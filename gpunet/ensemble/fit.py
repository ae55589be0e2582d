"""The epochs of an ensemble: one step for all models, and for each its own end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.backend import Array, to_host
from gpunet.ensemble.copies import Kept
from gpunet.ensemble.evaluation import Scores
from gpunet.ensemble.looks import Looks
from gpunet.ensemble.members import Member
from gpunet.ensemble.one_by_one import Order
from gpunet.ensemble.stack import Stack
from gpunet.ensemble.updates import updating
from gpunet.fused.step import Step
from gpunet.layer import Layer
from gpunet.train.feed import Feed
from gpunet.train.fit import DONE
from gpunet.train.groups import Groups
from gpunet.train.guard import Guard
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.loop import LOOK_EVERY
from gpunet.train.nonfinite import NonFiniteError
from gpunet.train.progress import Progress


class Fit:
    """Trains `members` on a feed, each in the order of its seed, by batches as `groups` has them.

    seeds: of the orders; None: as the rows lie. check: stop a model whose numbers are not finite.
    bar: has `update(batches)`. phases: as for an `Ensemble`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        feed: Feed,
        held_out: Feed | None,
        groups: Groups,
        seeds: Sequence[int | None],
        check: bool,
        bar: Any,
        interrupt: DeferredInterrupt,
        phases: bool | str,
    ) -> None:
        self.feed, self.held_out = feed, held_out
        self.groups, self.seeds = groups, dict(zip(map(id, members), seeds, strict=True))
        self.check, self.bar, self.interrupt, self.phases = check, bar, interrupt, phases
        self.running = list(members)
        self._stack()
        self.kept = Kept(self.stack)

    def _stack(self) -> None:
        """Bring those that are still trained together."""
        self.inside = list(self.running)
        models, optimizers = [m.model for m in self.inside], [m.optimizer for m in self.inside]
        self.layers = {id(m): _layers(m.model) for m in self.inside}
        self.stack = Stack(models, optimizers)
        loss = self.inside[0].loss
        self.updates = updating(self.stack, self.feed, loss, self.groups, self.phases)
        self.scores = Scores(self.stack, loss)
        self.looks = Looks(self.stack, self._fail) if self.check else None

    def run(self, epochs: int) -> None:
        """Train for so many epochs, or until every model has stopped."""
        for member in self.running:
            member.kept = self.kept
            for callback in member.callbacks:
                callback.on_start(member)
        self.kept.copy(self.stack)
        for _ in range(epochs):
            if self.running and not self.interrupt.requested:
                self._epoch()
        for member in list(self.running):
            self._end(member, "interrupted" if self.interrupt.requested else DONE)
        self.stack.part()

    def _epoch(self) -> None:
        if len(self.inside) >= 2 * len(self.running):
            self.stack.part()
            self._stack()
        started, trained = time.perf_counter(), list(self.running)
        lrs = [member.optimizer.current_lr() for member in trained]
        for member in trained:
            for layer in self.layers[id(member)]:
                layer.training = True
        self.order = self._order()
        losses, count = self.updates.begin(self.order), len(self.order.sizes)
        if self.looks:
            self.looks.begin()
        with threads.suited(trained[0].model, max(self.order.sizes)):
            for first in range(0, count, LOOK_EVERY):
                done = self._updates(first, min(first + LOOK_EVERY, count), losses)
                if done < count and (self.interrupt.requested or not self.running):
                    return
        values, sizes = to_host(losses), np.array(self.order.sizes, np.float64)
        found = self.scores.each(self.held_out) if self.held_out else None
        for member, lr in zip(trained, lrs, strict=True):
            if member in self.running:
                k = self.inside.index(member)
                loss = member.loss.mean(values[k], sizes)
                _note(member.history, loss, found[k] if found else {}, lr)
        seconds = (time.perf_counter() - started) / len(trained)
        for member in self.running:
            member.history.rows[-1]["seconds"] = seconds
        self._tell()

    def _tell(self) -> None:
        """All callbacks of the epoch, first the first of each model, so that snapshots that they
        take are copied together.
        """
        members, reasons = list(self.running), dict[int, str]()
        for told in zip(*(member.callbacks for member in members), strict=False):
            for k, (member, callback) in enumerate(zip(members, told, strict=True)):
                reason = callback.on_epoch(member, member.history.rows[-1])
                if reason:
                    reasons.setdefault(k, reason)
            self.kept.copy(self.stack)
        for k, reason in sorted(reasons.items()):
            self._end(members[k], reason)

    def _order(self) -> Order:
        """Of the epoch that comes; a model that has stopped goes along with the first."""
        first = self.running[0]
        here = set(map(id, self.running))
        wanted = [m if id(m) in here else first for m in self.inside]
        keys = [(self.seeds[id(m)], len(m.history)) for m in wanted]
        different = dict.fromkeys(keys if keys[0][0] is not None else keys[:1])
        numbers = {key: k for k, key in enumerate(different)}
        rows = self.groups.orders(list(numbers))
        if 1 < len(numbers) < len(keys):
            rows = rows[[numbers[key] for key in keys]]
        return Order(rows, self.groups.sizes)

    def _updates(self, first: int, last: int, losses: Array) -> int:
        """The epoch's updates from `first` on, then a look; the number of those that are done."""
        self.done = first
        with closing(self.updates.run(first, last)) as running:
            for count in running:
                self.done += count
                self.bar.update(count)
                if self.interrupt.requested:
                    break
        for member in self.running:
            member.optimizer.advance(0, 0)
        if self.looks:
            ends = self.done == losses.shape[1] or self.interrupt.requested
            self.looks.look(losses, self.done, ends)
        return self.done

    def _fail(self, k: int, first: int) -> None:
        """Find, alone, what went bad first in model k's updates after the epoch's `first`; it is at
        the state before them, and ends at that before the bad one.
        """
        member, rows = self.inside[k], self.order.rows
        self._leave(member)
        self.stack.part()
        guard = Guard(Step(member.model, member.loss, member.optimizer), self.feed, "raise")
        epoch, done = len(member.history) + 1, self.done
        since = self.groups.along(rows[k if len(rows) > 1 else 0])[first:done]
        for step, group in enumerate(since, first + 1):
            guard.note(group, epoch, step)
        bad = self.feed.xp.full(done, np.nan)
        try:
            guard.look(Progress({}, epoch, epoch, done, done, losses=bad, weights=bad))
        except NonFiniteError as error:
            member.error, member.history.stopped = error, f"stopped: {error}"
        for callback in member.callbacks:
            callback.on_stop(member)

    def _end(self, member: Member, reason: str) -> None:
        member.history.stopped = reason
        for callback in member.callbacks:
            callback.on_stop(member)
        for callback in member.callbacks:
            callback.on_end(member, reason == "interrupted")
        self._leave(member)

    def _leave(self, member: Member) -> None:
        """Nothing changes it any more."""
        member.kept = None
        self.running.remove(member)
        self.stack.leave(self.inside.index(member))


def _layers(model: Layer) -> list[Layer]:
    """The model and all that is in it."""
    return [model, *(layer for _, layer in model.named_layers())]


def _note(history: History, loss: float, valid: dict[str, float], lr: float) -> None:
    """An epoch's row of the history, but for its seconds."""
    row: Row = {"epoch": len(history) + 1, "train_loss": loss}
    row |= {f"valid_{name}": value for name, value in valid.items()}
    history.rows.append(row | {"lr": None if np.isnan(lr) else lr, "seconds": 0.0})
    history.kept = row["epoch"]

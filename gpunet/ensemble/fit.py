"""The epochs of an ensemble: one step for all models, and for each its own end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet import threads
from gpunet.backend import Array, to_host
from gpunet.ensemble.evaluation import evaluate
from gpunet.ensemble.gradients import Gradients, Taped, Walked, fused_plan
from gpunet.ensemble.members import Member
from gpunet.ensemble.stack import Stack
from gpunet.fused.step import Step
from gpunet.train.feed import Feed, Group
from gpunet.train.fit import DONE
from gpunet.train.groups import Groups
from gpunet.train.guard import Guard
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.loop import LOOK_EVERY
from gpunet.train.nonfinite import NonFiniteError
from gpunet.train.progress import Progress
from gpunet.train.snapshot import Snapshot


class Order(NamedTuple):
    """The rows of an epoch's batches. rows: (models, rows), or (1, rows) where all have the same.
    ends: where in it each batch ends. groups: of each model, or of the first for all.
    """

    rows: Array
    ends: list[int]
    groups: Sequence[Sequence[Group]]


class Fit:
    """Trains `members` on a feed, each in the order that its own groups say.

    check: stop a model whose numbers are not finite. bar: has `update(batches)`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        feed: Feed,
        held_out: Feed | None,
        groups: Sequence[Groups],
        check: bool,
        bar: Any,
        interrupt: DeferredInterrupt,
    ) -> None:
        self.feed, self.held_out = feed, held_out
        self.groups = dict(zip(map(id, members), groups, strict=True))
        self.check, self.bar, self.interrupt = check, bar, interrupt
        self.running = list(members)
        self._stack()

    def _stack(self) -> None:
        """Bring those that are still trained together."""
        self.inside = list(self.running)
        models, optimizers = [m.model for m in self.inside], [m.optimizer for m in self.inside]
        loss = self.inside[0].loss
        found = fused_plan(models[0], loss, self.feed.xp)
        self.stack = Stack(models, optimizers)
        self.gradients: Gradients = (
            Taped(self.stack, loss) if found is None else Walked(self.stack, found)
        )
        pairs = zip(models, optimizers, strict=True)
        self.good = [Snapshot(*pair) for pair in pairs] if self.check else []

    def run(self, epochs: int) -> None:
        """Train for so many epochs, or until every model has stopped."""
        for _ in range(epochs):
            if self.running and not self.interrupt.requested:
                self._epoch()
        for member in list(self.running):
            self._end(member, "interrupted" if self.interrupt.requested else DONE)

    def _epoch(self) -> None:
        if len(self.inside) >= 2 * len(self.running):
            self._stack()
        started, trained = time.perf_counter(), list(self.running)
        lrs = [member.optimizer.current_lr() for member in trained]
        for member in trained:
            member.model.train()
        order = self._order()
        losses = self.feed.xp.zeros((len(order.ends), len(self.inside)), np.float64)
        with threads.suited(trained[0].model, max(np.diff([0, *order.ends]))):
            for first in range(0, len(order.ends), LOOK_EVERY):
                done = self._updates(order, first, losses)
                if done < len(order.ends) and (self.interrupt.requested or not self.running):
                    return
        values, sizes = to_host(losses), np.diff([0, *order.ends]).astype(np.float64)
        found = evaluate(self.stack, trained[0].loss, self.held_out) if self.held_out else None
        for member, lr in zip(trained, lrs, strict=True):
            if member in self.running:
                k = self.inside.index(member)
                loss = member.loss.mean(values[:, k], sizes)
                _note(member.history, loss, found[k] if found else {}, lr)
        seconds = (time.perf_counter() - started) / len(trained)
        for member in list(self.running):
            row = member.history.rows[-1]
            row["seconds"] = seconds
            reasons = [callback.on_epoch(member, row) for callback in member.callbacks]
            if reason := next(filter(None, reasons), None):
                self._end(member, reason)

    def _order(self) -> Order:
        """Of the epoch that comes; a model that has stopped goes along with the first."""
        first = self.running[0]
        wanted = [m if m in self.running else first for m in self.inside]
        keys = [(id(self.groups[id(m)]), len(m.history)) for m in wanted]
        made = dict(zip(keys, wanted, strict=True))
        found = {key: self.groups[id(m)].of(key[1]) for key, m in made.items()}
        each = [found[key] for key in (keys if len(found) > 1 else keys[:1])]
        rows = np.stack([own.rows for own in each])
        ends = np.cumsum(each[0].sizes).tolist()
        return Order(rows if self.feed.streams else self.feed.xp.asarray(rows), ends, each)

    def _updates(self, order: Order, first: int, losses: Array) -> int:
        """Up to LOOK_EVERY updates from the epoch's batch `first` on, then a look; the number of
        those that are done.
        """
        last = min(first + LOOK_EVERY, len(order.ends))
        self.stack.update.prepare(last - first)
        start, done = order.ends[first - 1] if first else 0, first
        for end in order.ends[first:last]:
            self.gradients(*self._batch(order.rows[:, start:end]), losses[done])
            self.stack.update()
            start, done = end, done + 1
            self.bar.update()
            if self.interrupt.requested:
                break
        for member in self.running:
            member.optimizer.advance(0, 0)
        if self.check:
            self._look(order, first, done, losses)
        return done

    def _batch(self, rows: Array) -> tuple[Array, Array]:
        """x and t of these rows: with an axis of models, or (for the walk) without one where all
        have the same.
        """
        alone = len(rows) == 1 and len(self.inside) > 1
        x, t = self.feed.rows(rows.reshape(-1))
        if alone and isinstance(self.gradients, Walked):
            return x, t
        x, t = x.reshape(*rows.shape, *x.shape[1:]), t.reshape(*rows.shape, *t.shape[1:])
        if alone:
            xp, count = self.feed.xp, len(self.inside)
            x, t = (xp.broadcast_to(a, (count, *a.shape[1:])) for a in (x, t))
        return x, t

    def _look(self, order: Order, first: int, done: int, losses: Array) -> None:
        """Whose numbers are not finite any more is ended, where it began."""
        fine = self.stack.finite() & np.isfinite(to_host(losses[first:done])).all(axis=0)
        for k, member in enumerate(self.inside):
            if member not in self.running:
                continue
            if fine[k]:
                self.good[k].take()
            else:
                self.good[k].restore()
                groups = order.groups[k if len(order.groups) > 1 else 0]
                self._fail(member, groups[first:done], first)

    def _fail(self, member: Member, since: Sequence[Group], first: int) -> None:
        """Find, alone, what went bad first in the updates after the epoch's `first`; the member's
        model is at the state before them, and ends at that before the bad one.
        """
        self._leave(member)
        guard = Guard(Step(member.model, member.loss, member.optimizer), self.feed, "raise")
        epoch, done = len(member.history) + 1, first + len(since)
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
        self.running.remove(member)
        self.stack.leave(self.inside.index(member))


def _note(history: History, loss: float, valid: dict[str, float], lr: float) -> None:
    """An epoch's row of the history, but for its seconds."""
    row: Row = {"epoch": len(history) + 1, "train_loss": loss}
    row |= {f"valid_{name}": value for name, value in valid.items()}
    history.rows.append(row | {"lr": None if np.isnan(lr) else lr, "seconds": 0.0})
    history.kept = row["epoch"]

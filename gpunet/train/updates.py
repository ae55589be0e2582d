"""The updates of an epoch: one by one, or on a GPU as CUDA graphs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from gpunet import context, cublas, threads
from gpunet.backend import Array, array_module
from gpunet.fused.resident import Resident, fuses
from gpunet.fused.scripted import Rows, Scripted
from gpunet.fused.step import WEIGHTED, Step
from gpunet.loss import Loss
from gpunet.train.feed import Feed, Group
from gpunet.train.groups import Epoch
from gpunet.train.launches import Launches
from gpunet.train.nonfinite import Watch
from gpunet.train.progress import Progress


class Updates:
    """Updates run one by one.

    `run` gives `progress` its losses and weights: float64 arrays on the feed's device, one element
    a batch of the epoch: its mean loss, and what it counts in a mean over several.
    """

    def __init__(self, step: Step, feed: Feed) -> None:
        self.step, self.feed = step, feed

    how: str = "one by one"
    captures = False

    def run(self, groups: Epoch, progress: Progress) -> Generator[int, None, None]:
        """The rest of an epoch, an update a group; yields how many were made since the last time.
        What was made of it before, `progress` tells.
        """
        rows = [rows for group in groups for rows in group]
        losses = self.feed.xp.zeros(len(rows), np.float64)
        weights = self.feed.xp.asarray([len(one) for one in rows], np.float64)
        _go_on_with(progress, losses, weights)
        done = progress.batches
        batches = self.feed.batches(rows[done:])
        with closing(batches), threads.suited(self.step.model, max(map(len, rows))):
            for group in groups[progress.updates :]:
                for value, count in self.one(group, batches):
                    losses[done] = value
                    if not isinstance(count, int):
                        weights[done] = count
                    done += 1
                yield 1

    def one(
        self, group: Group, batches: Iterator[tuple[Array, ...]], watch: Watch | None = None
    ) -> list[tuple[Array, Any]]:
        """One update from the next batches; each one's loss, and what it counts in a mean."""
        step, loss = self.step, self.step.loss
        weighted = loss.weighted or self.feed.weight is not None
        counts = [loss.weight(*self.feed.targets(k)) if weighted else len(k) for k in group]
        shares = loss.shares(counts)
        found = []
        for k, (count, share) in enumerate(zip(counts, shares, strict=True)):
            x, t, *weight = next(batches)
            if watch:
                value = watch.batch(step, x, t, share, k > 0, *weight)
            else:
                value = step.gradients(x, t, share, k > 0, *weight)
            found.append((value, count))
        step.optimizer.step()
        if watch:
            watch.parameters()
        return found


class ScriptedUpdates(Updates):
    """On the CPU, from data in memory: many updates by one call of a C function where that is
    compiled, else one by one. An update is a batch.
    """

    how = "one by one"

    def __init__(self, step: Step, feed: Feed) -> None:
        super().__init__(step, feed)
        self._order, self._losses = np.zeros(len(feed), np.int64), np.zeros(len(feed), np.float64)
        labels = np.ascontiguousarray(feed.t, np.int64)
        data = Rows(feed.x, labels, self._order, self._losses)
        assert step.fused is not None
        self._scripted = Scripted(step.fused.plan, step.optimizer, data)

    def run(self, groups: Epoch, progress: Progress) -> Generator[int, None, None]:
        """As in `Updates`."""
        sizes, done = groups.sizes, progress.batches
        _go_on_with(progress, self._losses, np.array(sizes, np.float64))
        self._order[: len(groups.rows)] = groups.rows
        row = sum(sizes[:done])
        with threads.suited(self.step.model, max(sizes)):
            while done < len(sizes):
                rows = sizes[done]
                count = self._by_script(done, row, sizes) or self._one(groups[done], done)
                done, row = done + count, row + count * rows
                yield count

    def _by_script(self, done: int, row: int, sizes: Sequence[int]) -> int:
        """The next updates from batches of one size; how many there were, 0 where none could be."""
        if not self.step.holds():
            return 0
        own, rows = self._scripted, sizes[done]
        coming = sizes[done : done + own.at_once(rows)]
        count = next((k for k, other in enumerate(coming) if other != rows), len(coming))
        own.begin(done, row)
        if not own.many(rows, count):
            return 0
        self.how = f"up to {own.at_once(rows)} updates in one call"
        return count

    def _one(self, group: Group, done: int) -> int:
        ((value, _),) = self.one(group, self.feed.batches(group))
        self._losses[done] = value
        return 1


class ResidentUpdates:
    """Updates on a GPU from data that lies there, without a copy and without waiting: the order of
    the rows is on the device too, and counters tell where in it a step is.

    capture, optional: as `Launches` takes them.
    """

    def __init__(self, step: Step, feed: Feed, capture: bool, optional: bool) -> None:
        self.step, self.feed = step, feed
        self.xp = array_module(feed.x)
        self.launches = Launches(self.xp, self._update, capture, optional)
        self.order = self.xp.empty(len(feed), np.int64)
        self.losses = self.xp.zeros(len(feed), np.float64)  # a batch has one row at least
        places = self.order, self.losses, self.launches.graphs.counters
        self.batch = Resident(step, feed.x, feed.t, *places)

    @property
    def captures(self) -> bool:
        """Whether CUDA graphs are made."""
        return self.launches.capture

    @property
    def how(self) -> str:
        """How updates run, in words."""
        return self.launches.how

    def run(self, groups: Epoch, progress: Progress) -> Generator[int, None, None]:
        """As in `Updates`."""
        sizes, each = groups.sizes, groups.accumulate
        _go_on_with(progress, self.losses, self.xp.asarray(sizes, np.float64))
        self.order[: len(groups.rows)].set(groups.rows)
        batches = progress.batches
        self.launches.graphs.counters.set(row=sum(sizes[:batches]), batch=batches)
        yield from self.launches.run(sizes[progress.updates * each :], each)

    def _update(self, sizes: tuple[int, ...]) -> None:
        """One update, kernel by kernel, from batches of so many rows."""
        shares = self.step.loss.shares(sizes)
        for k, (size, share) in enumerate(zip(sizes, shares, strict=True)):
            self.batch.run(size, share, add=k > 0, ends=k == len(sizes) - 1)
        self.step.optimizer.step()


def _go_on_with(progress: Progress, losses: Array, weights: Array) -> None:
    """Make these the progress's, with what it has of the epoch so far at their beginning."""
    done = progress.batches
    if done:
        xp = array_module(losses)
        losses[:done] = xp.asarray(progress.losses[:done])
        weights[:done] = xp.asarray(progress.weights[:done])
    progress.losses, progress.weights = losses, weights


def updating(
    step: Step, feed: Feed, capture: bool | str, accumulates: bool = False
) -> Updates | ResidentUpdates:
    """The way to run updates on this feed. accumulates: they have several batches. ValueError if
    capture=True cannot be had.
    """
    why_not = refusal(step.loss, feed)
    if why_not is None and (capture is True or fuses(step, feed.x, feed.t)):
        return ResidentUpdates(step, feed, capture is not False, optional=capture == "auto")
    if capture is True and feed.xp is not np:
        raise ValueError(f"capture=True: {why_not}")
    plain = not step.loss.weighted and feed.weight is None and not accumulates
    if feed.xp is np and feed.in_memory and plain and fuses(step, feed.x, feed.t):
        return ScriptedUpdates(step, feed)
    return Updates(step, feed)


def refusal(loss: Loss, feed: Feed) -> str | None:
    """Why updates cannot run from the device alone, or None."""
    if feed.xp is np:
        return "the model is on the CPU"
    if feed.streams:
        return "the data streams from the host"
    if loss.weighted:
        return "the loss has class weights"
    if feed.weight is not None:
        return WEIGHTED
    if not context.current().plain:
        return "the layers are watched, or frozen"
    if cublas.library() is None:
        return "no cuBLAS library was found, and CuPy's own calls of it cannot be captured"
    return None

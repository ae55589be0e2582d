"""The updates of an epoch: one by one, or on a GPU as CUDA graphs."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from gpunet import context, cublas, threads
from gpunet.backend import Array, array_module
from gpunet.fused.resident import Resident, fuses
from gpunet.fused.step import WEIGHTED, Step
from gpunet.graphs import CaptureError, Graphs
from gpunet.phases.phased import Phased
from gpunet.train.feed import Feed, Group
from gpunet.train.groups import Epoch
from gpunet.train.nonfinite import Watch
from gpunet.train.progress import Progress

# Updates a launch, where so many are alike; and between two reads of the losses, to see whether
# they are finite.
AT_ONCE = 50


class Updates:
    """Updates run one by one.

    `run` gives `progress` its losses and weights: float64 arrays on the feed's device, one element
    a batch of the epoch: its mean loss, and what it counts in a mean over several.
    """

    def __init__(self, step: Step, feed: Feed) -> None:
        self.step, self.feed = step, feed

    how, captures = "one by one", False

    def run(self, groups: Sequence[Group], progress: Progress) -> Generator[int, None, None]:
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


class ResidentUpdates:
    """Updates on a GPU from data that lies there, without a copy and without waiting: the order of
    the rows is on the device too, and counters tell where in it a step is.

    Args:
        capture: as CUDA graphs, up to AT_ONCE updates a launch.
        optional: where a graph cannot be had, go on kernel by kernel, with one warning.

    phased: what takes the updates in phases, where it does.
    """

    phased: Phased | None = None
    _started = False  # a kernel that makes many updates

    def __init__(self, step: Step, feed: Feed, capture: bool, optional: bool) -> None:
        self.step, self.feed, self.capture, self.optional = step, feed, capture, optional
        self.xp = array_module(feed.x)
        self.graphs = Graphs(self.xp)
        self.order = self.xp.empty(len(feed), np.int64)
        self.losses = self.xp.zeros(len(feed), np.float64)  # a batch has one row at least
        self.batch = Resident(step, feed.x, feed.t, self.order, self.losses, self.graphs.counters)

    @property
    def captures(self) -> bool:
        """Whether CUDA graphs are made."""
        return self.capture

    @property
    def how(self) -> str:
        """How updates run, in words."""
        if self.phased and self.phased.is_persistent:
            return f"up to {AT_ONCE} updates in one kernel"
        way = f"graphs of up to {AT_ONCE} updates" if self.capture else "kernel by kernel"
        return f"{way}, in phases" if self.phased else way

    def run(self, groups: Epoch, progress: Progress) -> Generator[int, None, None]:
        """As in `Updates`."""
        sizes = groups.sizes
        _go_on_with(progress, self.losses, self.xp.asarray(sizes, np.float64))
        self.order[: len(groups.rows)].set(groups.rows)
        self.graphs.counters.set(row=sum(sizes[: progress.batches]), batch=progress.batches)
        done, each = progress.updates, groups.accumulate
        while done < len(groups):
            coming = sizes[done * each : (done + AT_ONCE) * each]
            count = self._alike(coming, each)
            self._launch(tuple(coming[:each]), count)
            done += count
            yield count

    def _alike(self, coming: list[int], each: int) -> int:
        """How many updates of `each` batches the next launch makes: of one graph AT_ONCE of one
        kind, or 1; of one kernel any number. coming: rows of the batches that come.
        """
        updates = [tuple(coming[k : k + each]) for k in range(0, len(coming), each)]
        sizes = updates[0]
        different = (k for k, other in enumerate(updates) if other != sizes)
        alike = next(different, len(updates))
        phased = self._in_phases(sizes)
        if phased and phased.is_persistent:
            return alike
        ready = self.capture and self.graphs.is_warm(_key(sizes, phased))
        return AT_ONCE if ready and alike == AT_ONCE else 1

    def _in_phases(self, sizes: tuple[int, ...]) -> Phased | None:
        """The phases, if they take an update from batches of these sizes."""
        phased = self.phased
        return phased if phased and len(sizes) == 1 and phased.holds() else None

    def _update(self, sizes: tuple[int, ...], phased: Phased | None) -> None:
        """One update, kernel by kernel, from batches of so many rows."""
        if phased:
            phased.one(sizes[0])
            return
        shares = self.step.loss.shares(sizes)
        for k, (size, share) in enumerate(zip(sizes, shares, strict=True)):
            self.batch.run(size, share, add=k > 0, ends=k == len(sizes) - 1)
        self.step.optimizer.step()

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

    def _launch(self, sizes: tuple[int, ...], count: int) -> None:
        """The next `count` updates."""
        phased, rows, batches = self._in_phases(sizes), sum(sizes), len(sizes)
        if phased and phased.is_persistent:
            if not self._by_one_kernel(phased, rows, count):
                for _ in range(count):
                    self._launch(sizes, 1)
            return
        key, step = _key(sizes, phased), partial(self._update, sizes, phased)
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


def _key(sizes: tuple[int, ...], phased: Phased | None) -> Hashable:
    """Updates of one key launch the same work."""
    return ("phases", *sizes) if phased else sizes


def _go_on_with(progress: Progress, losses: Array, weights: Array) -> None:
    """Make these the progress's, with what it has of the epoch so far at their beginning."""
    done = progress.batches
    if done:
        xp = array_module(losses)
        losses[:done] = xp.asarray(progress.losses[:done])
        weights[:done] = xp.asarray(progress.weights[:done])
    progress.losses, progress.weights = losses, weights


def updating(step: Step, feed: Feed, capture: bool | str) -> Updates | ResidentUpdates:
    """The way to run updates on this feed. ValueError if capture=True cannot be had."""
    why_not = refusal(step, feed)
    if why_not is None and (capture is True or fuses(step, feed.x, feed.t)):
        return ResidentUpdates(step, feed, capture is not False, optional=capture == "auto")
    if capture is True and feed.xp is not np:
        raise ValueError(f"capture=True: {why_not}")
    return Updates(step, feed)


def refusal(step: Step, feed: Feed) -> str | None:
    """Why the updates cannot run from the device alone, or None."""
    if feed.xp is np:
        return "the model is on the CPU"
    if feed.streams:
        return "the data streams from the host"
    if step.loss.weighted:
        return "the loss has class weights"
    if feed.weight is not None:
        return WEIGHTED
    if not context.current().plain:
        return "the layers are watched, or frozen"
    if cublas.library() is None:
        return "no cuBLAS library was found, and CuPy's own calls of it cannot be captured"
    return None

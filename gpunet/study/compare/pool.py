"""Runs side by side: each process takes the next few, which are trained in one step, with one BLAS
thread of its own.

Small networks train faster on one thread than on several, and measured seconds do not then depend
on how many runs share the machine, as long as there is a core for each.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

from gpunet import threads
from gpunet.data import Dataset
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.runs import Result, attempt, failure
from gpunet.study.processes import held_interrupts

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

AT_ONCE = 36  # runs: with more of them a step gains little, and a Ctrl-C loses much
FEW = 6  # runs: a step of fewer is not worth its calls
Group = list[Run]


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def context() -> Any:
    """What makes the processes. On Linux a server that loads what they need, once, and forks them
    off; it begins to load now, while the caller goes on. Elsewhere, and where the server finds no
    place for its socket, each process loads all by itself: a forked BLAS may hang that has threads.
    """
    if sys.platform == "linux":
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # which would let a Ctrl-C through that is held
        multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
        with contextlib.suppress(OSError), _environment(THREADS, "1"), held_interrupts():
            forkserver.ensure_running()
            return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def train_all(
    runs: Sequence[Run],
    setup: Setup,
    data: Dataset,
    done: Callable[[Result], None],
    jobs: int | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Train every run and call `done` with each result, in the order they end.

    jobs: processes at a time; None trains in this one. meanwhile: what else there is to do until
    the processes have their first results. A run that fails has a result that says so, also one
    whose process the system ends. KeyboardInterrupt after Ctrl-C, with the processes ended and
    every finished run handed over.
    """
    groups = together(runs)
    if jobs is None:
        for group in groups:
            for result in attempt(group, setup, data):
                done(result)
        return
    # where a process was ended
    left = _side_by_side(list(dealt(groups, jobs)), setup, data, done, jobs, meanwhile)
    alone = [[run] for group in left for run in group]
    while alone := _side_by_side(alone, setup, data, done, 1):  # one at a time: it tells whose
        reason = "its process was ended from outside, perhaps for want of memory"
        done(failure(alone.pop(0)[0], data, reason))


def together(runs: Sequence[Run]) -> list[Group]:
    """Runs of one optimizer that are trained in one step: those of one seed, or of several where
    these are few; in the order of the first of each.
    """
    by_seed: dict[tuple[str, int], Group] = {}
    for run in runs:
        by_seed.setdefault((run.optimizer, run.seed), []).append(run)
    groups: list[Group] = []
    open_groups: dict[str, Group] = {}
    for (optimizer, _), group in by_seed.items():
        started = open_groups.get(optimizer)
        if started is None or len(started) + len(group) > AT_ONCE:
            groups.append([])
            started = open_groups[optimizer] = groups[-1]
        started += group
    return groups


def dealt(groups: Sequence[Group], jobs: int) -> Iterator[Group]:
    """The groups, large ones first, and the later ones in pieces, so that `jobs` processes end at
    about the same time: none is more than half of what is left for a process then, or `FEW` runs.
    """
    left = sum(map(len, groups))
    for group in sorted(groups, key=len, reverse=True):
        pieces = max(1, min(len(group) // FEW, -(-len(group) * 2 * jobs // left)))
        cuts = [len(group) * k // pieces for k in range(pieces + 1)]
        yield from (group[start:stop] for start, stop in pairwise(cuts))
        left -= len(group)


def _side_by_side(
    groups: Sequence[Group],
    setup: Setup,
    data: Dataset,
    done: Callable[[Result], None],
    jobs: int,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Group]:
    """What is left when the system has ended a process, in order."""
    makes = context()
    theirs, ours = makes.Pipe(duplex=False)
    start = (theirs, setup, data)
    pool = ProcessPoolExecutor(min(jobs, len(groups) or 1), makes, _begin, start)
    left = list(groups)
    try:
        # A Ctrl-C would hit processes that are still starting.
        with _environment(THREADS, "1"), held_interrupts():
            futures = {pool.submit(_train, group): group for group in groups}
        meanwhile()
        for future in as_completed(futures):
            for result in future.result():
                done(result)
            left.remove(futures[future])
    except BrokenProcessPool:
        return left
    finally:
        ours.close()  # ends the processes, also in the middle of a run
        pool.shutdown(cancel_futures=True)
    return []


@contextlib.contextmanager
def _environment(names: Sequence[str], value: str) -> Iterator[None]:
    """Inside it the variables have this value; BLAS reads them when a new process starts."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, value))
    try:
        yield
    finally:
        for name, old in before.items():
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old


# In a training process

_given: list[Any] = []
_alone: list[threads.Alone] = []


def _begin(parent: Connection, setup: Setup, data: Dataset) -> None:
    """Ctrl-C in a terminal reaches every process; here only the parent's word counts."""
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own lock outlives a process that ends abruptly
    _given[:] = setup, data
    os.environ.update(dict.fromkeys(THREADS, "1"))  # also where another has started the server
    _alone.append(threads.Alone())
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: Connection) -> None:
    """End this process when the other end is closed, however the parent came to its end."""
    with contextlib.suppress(EOFError, OSError):
        parent.recv_bytes()
    os._exit(1)


def _train(group: Group) -> list[Result]:
    return attempt(group, *_given)

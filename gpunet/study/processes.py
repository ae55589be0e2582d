"""Other processes: begun without a Ctrl-C in between, and one that does half of a task."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

# Threads that do nothing else now: the main one, tqdm's, which redraws a bar now and then, and
# those of `gpunet.threads`.
IDLE = ("MainThread", "tqdm_monitor", "gpunet_")
Task = Callable[[], bytes]


@contextlib.contextmanager
def held_interrupts() -> Iterator[None]:
    """A Ctrl-C inside it comes after it; what is begun inside hears none."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def both(first: Task, second: Task) -> tuple[bytes, bytes]:
    """What the two return, done at the same time, the first by a process that is forked off. One
    after the other where that is not safe: not on Linux, or beside other threads of Python.
    """
    idle = all(thread.name.startswith(IDLE) for thread in threading.enumerate())
    if sys.platform != "linux" or not idle:
        return first(), second()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_do, args=(first, theirs), daemon=True)
    with held_interrupts(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of BLAS's threads, which only wait
        process.start()
    theirs.close()
    try:
        own = second()
        with contextlib.suppress(EOFError):
            return ours.recv_bytes(), own
        return first(), own  # it failed, or was ended from outside
    finally:
        process.kill()
        process.join()
        ours.close()


def _do(task: Task, to: Connection) -> None:
    with contextlib.suppress(Exception):
        to.send_bytes(task())

"""How many threads BLAS takes for a network's products on the CPU.

On several threads a product is cut in another way than on one, so that its last bits are others;
and on a busy machine a small product waits many times as long for the slowest thread. So a network
whose largest product is small takes one thread, and others take as many as BLAS has, always.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from gpunet.layer import Layer
from gpunet.lock import RLock
from gpunet.parameter import Parameter

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor  # which loads all of `logging`

SMALL = 2**22  # multiplications: where a second thread begins to pay, on an idle machine
_lock = RLock()
_alone: list[object] = []  # who wants one thread now
_before: list[int] = []  # what the libraries had until then


@cache
def _libraries() -> list[Any]:
    """Found once, for that takes milliseconds; to set one takes a microsecond. None without
    threadpoolctl, on a machine that has little but CuPy: BLAS then takes as many as it likes.
    """
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    found: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


class Alone:
    """While it lives, BLAS takes one thread, in the whole process: there is no such setting of a
    Python thread's own. Afterwards BLAS has as many as it had.
    """

    def __init__(self) -> None:
        with _lock:
            if not _alone:
                _before[:] = [library.get_num_threads() for library in _libraries()]
                _set([1] * len(_before))
            self._token = object()
            _alone.append(self._token)

    def close(self) -> None:
        """Once, or not at all: what is forgotten is closed."""
        with _lock:
            if self._token in _alone:
                _alone.remove(self._token)
                if not _alone:
                    _set(_before)

    def __del__(self) -> None:
        with suppress(Exception):  # at the very end of the process what is needed may be gone
            self.close()


@cache
def cores() -> int:
    """Those that this process may use; no more than OMP_NUM_THREADS says, where it is set."""
    has = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    return min(has, int(given)) if given.isdigit() and int(given) else has


def side_by_side(jobs: Sequence[Callable[[], object]]) -> None:
    """Run them at the same time, the first in this thread: of use for what lets go of the GIL. An
    error of one is raised when all have ended.
    """
    from concurrent.futures import wait

    first, *others = jobs
    running = [_pool(os.getpid()).submit(job) for job in others]
    try:
        first()
    finally:
        wait(running)
    for job in running:
        job.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """For each process one: threads do not survive a fork. Its threads sleep between jobs; OpenMP's
    would spin, in the way of BLAS.
    """
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max(1, cores() - 1), "gpunet")


def _set(numbers: Iterable[int]) -> None:
    for library, number in zip(_libraries(), numbers, strict=True):
        # threadpoolctl lets only the Python thread that came first set OpenBLAS's number, and says
        # nothing to the others. Here they agree, under the lock.
        setter = getattr(library, "_real_set_num_threads", library.set_num_threads)
        setter(number)


def is_small(model: Any, rows: int) -> bool:
    """Whether batches of so many rows make small products only. False where they are not BLAS's: on
    a GPU, or of a model that is no Layer.
    """
    if not isinstance(model, Layer) or model.device != "cpu":
        return False
    return are_small(model.parameters(), rows)


def are_small(parameters: Iterable[Parameter], rows: int) -> bool:
    """Whether products of so many rows with these are small."""
    return all(p.size * rows <= SMALL for p in parameters if p.ndim > 1)


@contextmanager
def suited(model: Any, rows: int) -> Iterator[None]:
    """Inside it BLAS takes as many threads as suit batches of so many rows."""
    alone = Alone() if is_small(model, rows) else None
    try:
        yield
    finally:
        if alone is not None:
            alone.close()


def blas() -> list[str]:
    """For a summary: each BLAS library with its version, its kernels, and the threads that it takes
    for products that are not small.
    """
    with _lock:
        numbers = _before if _alone else [library.get_num_threads() for library in _libraries()]
        found = []
        for library, number in zip(_libraries(), numbers, strict=True):
            told = library.info()
            words = (told["internal_api"], told["version"], told.get("architecture"))
            found.append(f"{' '.join(map(str, words))}, threads: {number}")
        return found


def kernels() -> list[str]:
    """The processors that the BLAS libraries' kernels are made for, such as "SkylakeX", each once;
    none where a library does not tell.
    """
    told = (library.info().get("architecture") for library in _libraries())
    return sorted({str(name) for name in told if name})

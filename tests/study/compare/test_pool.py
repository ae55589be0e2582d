"""Several processes give what one gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from gpunet.data import Dataset
from gpunet.study.compare import pool
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.runs import Result

RUNS = [Run("sgd", 0.1, 0), Run("cocob", None, 0), Run("adam", 0.01, 1)]
SETUP = Setup(hidden=(8,), epochs=2, batch_size=16)


def trained(small: Dataset, jobs: int | None) -> list[Result]:
    found: list[Result] = []
    pool.train_all(RUNS, SETUP, small, found.append, jobs)
    return [replace(result, seconds=[]) for result in found]


def test_each_process_gets_one_thread(
    small: Dataset, make: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    class Fake:
        def __init__(self, *given: object) -> None:
            pass

        def submit(self, task: object, run: Run) -> Future[Result]:
            seen.extend(os.environ.get(name) for name in pool.THREADS)
            future: Future[Result] = Future()
            future.set_result(make())
            return future

        def shutdown(self, **how: bool) -> None:
            pass

    monkeypatch.setattr(pool, "ProcessPoolExecutor", Fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    trained(small, 1)
    assert set(seen) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_two_processes_give_the_numbers_of_this_one(small: Dataset) -> None:
    before = dict(os.environ)
    found = sorted(trained(small, 2), key=lambda result: RUNS.index(result.run))
    assert dict(os.environ) == before
    assert found == trained(small, None)

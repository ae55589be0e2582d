"""Several processes give what one gives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import forkserver
from typing import Any

import pytest

from gpunet import threads
from gpunet.data import Dataset
from gpunet.study import pictures
from gpunet.study.compare import pool, runs, table
from gpunet.study.compare.charts import encode_comparison
from gpunet.study.compare.comparison import compare
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.report import About, render
from gpunet.study.compare.runs import Result
from gpunet.study.compare.verdict import judge

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

        def submit(self, task: object, group: list[Run]) -> Future[list[Result]]:
            seen.extend(os.environ.get(name) for name in pool.THREADS)
            future: Future[list[Result]] = Future()
            future.set_result([make()])
            return future

        def shutdown(self, **how: bool) -> None:
            pass

    monkeypatch.setattr(pool, "ProcessPoolExecutor", Fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    trained(small, 1)
    assert set(seen) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_a_process_has_one_thread_also_where_another_has_started_the_server(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "THREADS", ())
    monkeypatch.setattr(pool, "_train", _tell_threads)
    told = {result.failed for result in trained(small, 2)}
    assert told == {"1"}


def _tell_threads(group: list[Run]) -> list[Result]:
    import threadpoolctl  # a machine that has little but CuPy collects this file, too

    found = threadpoolctl.threadpool_info()
    numbers = {one["num_threads"] for one in found if one["user_api"] == "blas"}
    told = " ".join(map(str, numbers | {threads.cores()}))
    return [runs.failure(run, pool._given[1], told) for run in group]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server")
def test_where_no_server_can_be_each_process_loads_by_itself(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.context().get_start_method() == "forkserver"

    def refuse() -> None:
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(forkserver, "ensure_running", refuse)
    assert pool.context().get_start_method() == "spawn"
    assert [result.failed for result in trained(small, 1)] == [None] * 3


def test_two_processes_give_the_numbers_of_this_one(small: Dataset) -> None:
    before = dict(os.environ)
    found = sorted(trained(small, 2), key=lambda result: RUNS.index(result.run))
    assert dict(os.environ) == before
    assert found == trained(small, None)


def test_runs_of_one_optimizer_are_trained_together() -> None:
    runs_ = [Run(o, lr, k) for k in range(9) for o in ("sgd", "adam") for lr in (0.1, 1.0)]
    runs_ += [Run("cocob", None, 0)]
    groups = pool.together([*runs_, *(Run("lion", lr / 50, 0) for lr in range(50))])
    assert [(g[0].optimizer, len(g)) for g in groups] == [
        ("sgd", 18), ("adam", 18), ("cocob", 1), ("lion", 50)
    ]  # fmt: skip
    assert groups[0] == [run for run in runs_ if run.optimizer == "sgd"]
    many = [Run("sgd", lr / 10, k) for k in range(5) for lr in range(15)]
    assert [len(group) for group in pool.together(many)] == [30, 30, 15]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_processes_end_at_about_the_same_time(jobs: int) -> None:
    sizes = [27] * 15 + [3]
    groups = [[Run(str(k), lr / 100, 0) for lr in range(n)] for k, n in enumerate(sizes)]
    dealt = list(pool.dealt(groups, jobs))
    assert [run for group in dealt for run in group] == [run for group in groups for run in group]
    assert len(dealt) <= len(groups) + 6 * jobs
    ends = [0] * jobs
    for group in dealt:  # whoever has ended takes the next
        ends[ends.index(min(ends))] += len(group)
    assert max(ends) - min(ends) <= 7


def test_one_of_a_group_that_fails_fails_alone(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = runs.train

    def train(group: list[Run], *given: Any) -> list[Result]:
        if any(run.lr == 0.2 for run in group):
            raise MemoryError("no room")
        return true(group, *given)

    monkeypatch.setattr(runs, "train", train)
    found: list[Result] = []
    pool.train_all([Run("sgd", lr, 0) for lr in (0.1, 0.2, 0.3)], SETUP, small, found.append)
    assert [result.failed for result in found] == [None, "MemoryError: no room", None]


def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    true = runs.train

    def train(group: list[Run], *given: Any) -> list[Result]:
        if any(run.optimizer == "cocob" for run in group):
            raise MemoryError("no room for\n a network")
        return true(group, *given)

    monkeypatch.setattr(runs, "train", train)


def test_a_run_that_fails_is_a_row_that_says_so(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch)
    found = trained(small, None)
    assert [result.run for result in found] == RUNS
    assert [result.failed for result in found] == [None, "MemoryError: no room for a network", None]
    found = [replace(r, seconds=[0.0] * len(r.valid_loss)) for r in found]
    comparison = compare(found, 3)
    [row] = [row for row in table.run_rows(comparison) if row["optimizer"] == "COCOB"]
    assert row["failed"] == "MemoryError: no room for a network"
    assert row["diverged"] == f"not trained: {row['failed']}"
    assert row["valid_loss"] is None
    verdict = judge(comparison, SETUP, 12)
    [finding] = [finding for finding in verdict.findings if finding.title == "What failed"]
    assert finding.text.startswith("1 of 3 runs gave no numbers: MemoryError: no room for a netw")
    page = render(comparison, verdict, About("x", 1, 12, [3, 2], SETUP))
    assert page.count("MemoryError: no room for a network") == 2
    assert table.text(comparison).count("not finite") == 1
    if pictures.can_plot():
        assert encode_comparison(comparison, "x")


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_process_that_the_system_ends(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_train", _train_or_die)
    found = {result.run: result.failed for result in trained(small, 2)}
    assert found == {
        RUNS[0]: None,
        RUNS[1]: "its process was ended from outside, perhaps for want of memory",
        RUNS[2]: None,
    }


def _train_or_die(group: list[Run]) -> list[Result]:
    if any(run.optimizer == "cocob" for run in group):
        os.kill(os.getpid(), signal.SIGKILL)
    return runs.attempt(group, *pool._given)

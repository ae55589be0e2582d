"""Threads side by side: each equals itself alone, bit for bit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpunet as gn
from gpunet import rng, threads

THREADS = 8
DATA = np.random.default_rng(0)
X = DATA.standard_normal((60, 8)).astype(np.float32)
T = DATA.integers(0, 3, 60)


def side_by_side(function: Callable[[int], bytes]) -> list[bytes]:
    """What `function` gives in eight threads that begin together."""
    barrier = threading.Barrier(THREADS)

    def run(k: int) -> bytes:
        barrier.wait()
        return function(k)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def everything(trainer: gn.Trainer) -> bytes:
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history.rows]
    arrays = [a.tobytes() for a in trainer.model.state_dict().values()]
    return repr(rows).encode() + b"".join(arrays)


def trained(seed: int, fuse: bool) -> bytes:
    gn.seed(seed)
    model = gn.MLP([8, 16, 16, 3], batch_norm=True, dropout=0.3)
    kind = list(gn.OPTIMIZERS.values())[seed]
    trainer = gn.Trainer(
        model, gn.SoftmaxWithLoss(), kind(model.parameters()), progress=False, fuse=fuse
    )
    trainer.fit((X, T), (X, T), epochs=3, batch_size=8, seed=seed)
    return everything(trainer)


@pytest.mark.parametrize("fuse", [True, False])
def test_eight_threads_that_seed_build_and_train(fuse: bool) -> None:
    alone = [trained(k, fuse) for k in range(THREADS)]
    assert len(set(alone)) == THREADS
    for _ in range(3):
        assert side_by_side(lambda k: trained(k, fuse)) == alone


def draws(count: int) -> list[int]:
    return [rng.draw_seed() for _ in range(count)]


def test_a_threads_seed_is_its_own() -> None:
    gn.seed(7)
    here = draws(6)
    gn.seed(7)
    found = draws(3)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: (gn.seed(3), draws(5))).result()
    assert found + draws(3) == here


def test_threads_without_a_seed_share_one_and_never_draw_the_same() -> None:
    gn.seed(7)
    here = draws(40)

    def unseeded() -> list[int]:
        with ThreadPoolExecutor(THREADS) as pool:
            return sorted(pool.map(lambda _: rng.draw_seed(), range(40)))

    gn.seed(7)
    there = unseeded()
    assert len(set(there + here)) == 80
    assert draws(40) == here  # and what they drew changed nothing here
    gn.seed(7)
    assert unseeded() == there
    gn.seed(8)
    assert unseeded() != there


def test_state_and_restore_are_the_threads() -> None:
    gn.seed(7)
    before = rng.state()

    def other() -> list[int]:
        gn.seed(9)
        kept = rng.state()
        coming = draws(3)
        rng.restore(kept)
        assert draws(3) == coming
        return coming

    with ThreadPoolExecutor(1) as pool:
        pool.submit(other).result()
    assert rng.state() == before


# BLAS's own threads


def numbers() -> list[int]:
    """Of the libraries that were there when they were first looked for: others may come later."""
    return [library.get_num_threads() for library in threads._libraries()]


@pytest.fixture
def two() -> Iterator[None]:
    """BLAS takes two threads, where the machine lets it."""
    with pytest.importorskip("threadpoolctl").threadpool_limits(2, "blas"):
        yield


class Look(gn.Layer):
    """Notes how many threads BLAS has."""

    def __init__(self) -> None:
        self.seen = list[list[int]]()

    def call(self, x: gn.Tensor) -> gn.Tensor:
        self.seen.append(numbers())
        return x


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(("hidden", "small"), [(16, True), (2**19, False)])
def test_a_training_takes_one_thread_for_small_products(hidden: int, small: bool) -> None:
    before, look = numbers(), Look()
    model = gn.Sequential(gn.Affine(1, hidden), look, gn.Affine(hidden, 2))
    x, t = X[:30, :1], T[:30] % 2
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()), progress=False)
    trainer.fit((x, t), (x, t), 1, batch_size=10)
    training = look.seen[2]  # after the two trials, of the rows to train on and to validate
    assert training == ([1] * len(before) if small else before)
    assert numbers() == before


@pytest.mark.usefixtures("two")
def test_a_step_holds_its_choice_while_it_lives() -> None:
    before, one = numbers(), [1] * len(numbers())
    model = gn.MLP([8, 16, 3])
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()))
    own = gn.MLP([8, 3])
    other = gn.Step(own, gn.SoftmaxWithLoss(), gn.SGD(own.parameters()))
    assert numbers() == before
    for rows in (10, 7, 10):
        step(X[:rows], T[:rows])
        assert numbers() == one
    other(X[:8], T[:8])
    del step
    assert numbers() == one
    assert threads.blas()[0].endswith(f"threads: {before[0]}")
    del other
    assert numbers() == before


@pytest.mark.usefixtures("two")
def test_many_threads_hold_and_let_go() -> None:
    before = numbers()
    model = gn.MLP([8, 3])

    def some(k: int) -> bytes:
        for _ in range(200):
            with threads.suited(model, 8):
                if numbers_of_one() != 1:
                    return b"no"
        return b"yes"

    def numbers_of_one() -> int:
        return int(threads._libraries()[0].get_num_threads())

    assert side_by_side(some) == [b"yes"] * THREADS
    assert numbers() == before


@pytest.mark.parametrize(("given", "most"), [("1", 1), ("2", 2), ("", 99), ("none", 99), ("0", 99)])
def test_cores_are_no_more_than_asked_for(
    given: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(99)), raising=False)
    assert threads.cores.__wrapped__() == most


def test_jobs_side_by_side_all_end_before_an_error_is_raised() -> None:
    done: list[int] = []

    def fails() -> None:
        raise OSError("the first")

    with pytest.raises(OSError, match="the first"):
        threads.side_by_side([fails, lambda: done.append(1), lambda: done.append(2)])
    assert sorted(done) == [1, 2]
    with pytest.raises(OSError, match="the first"):
        threads.side_by_side([lambda: done.append(3), fails])
    assert 3 in done

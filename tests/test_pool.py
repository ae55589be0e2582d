"""gpunet.pool: a thing is one caller's at a time, and a stream's at all times."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from gpunet.pool import Pool


def counted() -> Pool[list[int]]:
    made: list[int] = []
    return Pool(lambda: made.append(0) or [len(made)])  # type: ignore[func-returns-value]


def test_one_for_each_who_has_one_and_no_more() -> None:
    pool = counted()
    with pool.lent(np) as a, pool.lent(np) as b:
        assert (a, b) == ([1], [2])
    with pool.lent(np) as a, pool.lent(np) as b:
        assert {*a, *b} == {1, 2}


def test_after_an_error_it_is_not_lent_again() -> None:
    pool = counted()
    with pytest.raises(KeyboardInterrupt), pool.lent(np):
        raise KeyboardInterrupt
    with pool.lent(np) as a:
        assert a == [2]


def test_threads_never_share() -> None:
    pool, twice = Pool(list[int]), list[int]()

    def work() -> None:
        for _ in range(300):
            with pool.lent(np) as own:
                own.append(1)
                if len(own) != 1:
                    twice.append(len(own))
                own.clear()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not twice


def test_each_stream_has_its_own(sim: Any) -> None:
    pool, streams = counted(), [sim.cuda.Stream(non_blocking=True) for _ in range(20)]
    with pool.lent(np) as host, pool.lent(sim) as default:
        pass
    with streams[0], pool.lent(sim) as one:
        assert one not in (host, default)
    with pool.lent(sim) as again:
        assert again == default
    for stream in streams:  # of so many the first are forgotten
        with stream, pool.lent(sim):
            pass
    with streams[-1], pool.lent(sim) as last, streams[0], pool.lent(sim) as first:
        assert last == [22]
        assert first == [23]

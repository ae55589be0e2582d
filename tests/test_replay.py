"""gpunet.replay: a function of arrays is one launch, and each caller's arrays are his own."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

from gpunet.replay import Replayed
from gpunet.testing import simgpu


def twice(x: Any) -> Any:
    return x * 2 + 1


def test_numpy_arrays_go_as_they_are() -> None:
    np.testing.assert_array_equal(Replayed(twice)(np.arange(3)), [1, 3, 5])


def test_one_launch_from_the_second_time_on(sim: Any) -> None:
    calls: list[int] = []

    def run(x: Any) -> Any:
        calls.append(len(x))
        return twice(x)

    replayed = Replayed(run)
    for n in (4, 4, 5, 4, 5, 5):
        x = sim.arange(n, dtype=np.float32)
        np.testing.assert_array_equal(replayed(x).get(), twice(np.arange(n)))
    assert sorted(calls) == [4, 4, 5, 5]
    with simgpu.count() as used:
        first, second = replayed(x), replayed(x * 2)
    assert used.graph_launches == 2
    assert first.get()[1] == 3  # no launch wrote to it again
    assert second.get()[1] == 5


def test_of_many_shapes_the_graphs_are_forgotten(sim: Any) -> None:
    replayed = Replayed(twice)
    for _ in range(2):
        for n in range(1, 12):
            assert replayed(sim.ones(n)).tolist() == [3.0] * n


def test_what_a_graph_cannot_hold_goes_as_it_is(sim: Any) -> None:
    replayed = Replayed(lambda x: x + float(x.sum()))  # a wait
    for _ in range(3):
        assert replayed(sim.ones(2)).tolist() == [3.0, 3.0]


def test_an_error_is_the_functions_own(sim: Any) -> None:
    def run(x: Any) -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Replayed(run)(sim.ones(2))


def test_threads_and_streams(sim: Any) -> None:
    replayed, wrong = Replayed(twice), list[Any]()

    def work(k: int) -> None:
        with sim.cuda.Stream(non_blocking=True):
            for n in range(12):
                found = replayed(sim.full(3 + n % 2, k, np.float64))
                if set(found.tolist()) != {2 * k + 1}:
                    wrong.append((k, found))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_copy_is_made_anew(sim: Any) -> None:
    replayed = Replayed(twice)
    replayed(sim.ones(2))
    assert copy.deepcopy(replayed)(sim.ones(2)).tolist() == [3.0, 3.0]

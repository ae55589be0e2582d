"""gpunet.bench.counting: what is counted is of one step."""

from __future__ import annotations

import numpy as np

from gpunet.bench import counting


def test_bytes_on_the_cpu_are_those_held_at_once() -> None:
    def run(steps: int) -> None:
        for _ in range(steps):
            np.ones(10**6, np.uint8)
            np.ones(10**6, np.uint8)

    found = counting.most_held(run)
    assert 10**6 <= found.pop("bytes_allocated") < 1.5 * 10**6
    assert set(found.values()) == {None}


def test_means_are_whole_where_they_can_be() -> None:
    found = counting.counts(launches=2.0, h2d_copies=0.1 + 0.2)
    assert (found["launches"], found["h2d_copies"], found["d2h_copies"]) == (2, 0.3, None)
    assert isinstance(found["launches"], int)

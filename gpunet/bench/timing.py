"""Time by rounds: a round is some milliseconds of steps, and the figure is the rounds' median.

A median and quartiles, not a mean: other programs only ever make a round slower.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from gpunet.backend import cupy

Run = Callable[[int], object]  # run(n) does n steps
ROUND_S = 0.03


def repeated(call: Callable[[], object]) -> Run:
    """`run(n)`, calling it n times."""

    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def waiter(device: str) -> Callable[[], None]:
    """What ends a round: on "cuda" a wait for all that was launched, elsewhere nothing."""
    if device == "cuda":
        wait: Callable[[], None] = cupy().cuda.runtime.deviceSynchronize
        return wait
    return lambda: None


def round_s(run: Run, steps: int, wait: Callable[[], None]) -> float:
    """Seconds a step, over one round."""
    wait()
    begin = time.perf_counter()
    run(steps)
    wait()
    return (time.perf_counter() - begin) / steps


def steps_in(run: Run, wait: Callable[[], None], seconds: float = ROUND_S) -> int:
    """How many steps fill `seconds`; at least 1. Runs some, which warm up caches and compilers."""
    steps = 1
    while True:
        run(steps)
        took = round_s(run, steps, wait)
        if took * steps >= seconds / 4:
            return max(1, round(seconds / took))
        steps *= 2


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile; all the same for one value."""
    if len(values) < 2:
        return (values[0],) * 3
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high

"""A workload, timed and counted: one record a mode, with what it is measured by on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpunet.backend import cupy
from gpunet.bench import timing
from gpunet.bench.places import Place
from gpunet.bench.steps import modes, not_in_phases, runner
from gpunet.bench.workloads import Workload

ROUNDS, FEW = 30, 5  # FEW: rounds of a whole epoch, or where time means nothing
ADAM_BYTES = 28  # a parameter: reads gradient, parameter, m and v, writes the last three
COPIED, MULTIPLIED = 10**8, 4096  # elements of the copy, rows of the square matrices


def measure(
    workload: Workload, place: Place, rounds: int | None = None, data: str | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each mode: the times, then the counts, of steps that are not timed."""
    if rounds is None:
        rounds = ROUNDS if place.timed and not workload.rows else FEW
    for mode in modes(workload, place.device):
        run, wait = runner(workload, place.device, mode, data), timing.waiter(place.device)
        steps = (workload.steps_a_round or timing.steps_in(run, wait)) if place.timed else 1
        seconds = [timing.round_s(run, steps, wait) for _ in range(rounds)]
        low, median, high = (s * 1e6 for s in timing.quartiles(seconds))
        yield {
            "workload": workload.name,
            "device": place.name,
            "mode": mode,
            "us_per_step": median,
            **place.count(run, workload, mode),
            "quartiles_us": [low, high],
            "rounds": rounds,
            "steps_a_round": steps,
            "what": workload.text,
            **(why_not(workload) if mode == "captured" else {}),
            **(shares(workload, median / 1e6) if place.name == "cuda" else {}),
        }


def why_not(workload: Workload) -> dict[str, str]:
    """What stands in the way of modes that there are for small networks."""
    found = not_in_phases(workload)
    return {} if found is None else {"not_in_phases": found}


def shares(workload: Workload, seconds: float) -> dict[str, float]:
    """W4's share of a copy's bandwidth, W3's of a product's rate, measured beside it."""
    if workload.name.startswith("W4"):
        return {"share_of_copy": ADAM_BYTES * workload.parameters / seconds / _copy_rate()}
    if workload.name == "W3":
        return {"share_of_gemm": workload.flops / seconds / _gemm_rate()}
    return {}


def _copy_rate() -> float:
    """Bytes a second, read and written, of a copy on the device."""
    xp = cupy()
    source, target = xp.ones(COPIED, np.float32), xp.empty(COPIED, np.float32)
    return 2 * 4 * COPIED / _median_s(lambda: xp.copyto(target, source))


def _gemm_rate() -> float:
    """Floating-point operations a second of a float32 matrix product, as CuPy calls it."""
    xp, n = cupy(), MULTIPLIED
    a, out = xp.ones((n, n), np.float32), xp.empty((n, n), np.float32)
    return 2 * n**3 / _median_s(lambda: xp.matmul(a, a, out=out))


def _median_s(call: Callable[[], object]) -> float:
    """Seconds a call, the median of rounds."""
    run, wait = timing.repeated(call), timing.waiter("cuda")
    steps = timing.steps_in(run, wait)
    return timing.quartiles([timing.round_s(run, steps, wait) for _ in range(ROUNDS)])[1]

"""How a step's cost grows with batch, width, depth and parameters: python -m benchmarks.growth

Writes one JSON a run, for a device; `python -m benchmarks.charts` draws them, and where the GPU
starts to beat the CPU once both are there. The last series is the update's overhead: as many
parameters in more and more tensors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks import records, threads
from benchmarks.machine import device_name, watched
from benchmarks.workloads import Workload, runner
from gpunet import machine
from gpunet.bench import timing
from gpunet.bench.steps import modes

RESULTS = records.RESULTS / "growth"
ROUNDS = 15
QUICK = 3  # points, from the smallest on, and rounds
WHAT = {
    "batch": "784-100-10, SGD",
    "width": "784-width-width-10, batch 128, Adam",
    "depth": "64-wide layers, batch 32, Momentum",
    "parameters": "Adam alone, one tensor",
    "tensors": "Adam alone, 65,536 parameters",
}


def powers(first: int, last: int, base: int = 2) -> list[int]:
    """first, base * first, ... up to last."""
    found = [first]
    while found[-1] * base <= last:
        found.append(found[-1] * base)
    return found


def points(place: str) -> dict[str, dict[int, Workload]]:
    """The workload of each point, by series and by what grows in it."""
    largest = 10**8 if place == "cuda" else 10**7
    return {
        "batch": {n: Workload("batch", "sgd", (784, 100, 10), n) for n in powers(1, 8192)},
        "width": {n: Workload("width", "adam", (784, n, n, 10), 128) for n in powers(16, 4096)},
        "depth": {
            n: Workload("depth", "momentum", (*[64] * n, 10), 32, lr=1e-3) for n in powers(1, 32)
        },
        "parameters": {
            n: Workload("parameters", "adam", tensors=1, parameters=n)
            for n in powers(1000, largest, 10)
        },
        "tensors": {
            n: Workload("tensors", "adam", tensors=n, parameters=2**16) for n in powers(1, 64)
        },
    }


def measured(place: str, quick: bool = False) -> Iterator[dict[str, Any]]:
    """A record for each point and mode, one series after the other."""
    for series, growing in points(place).items():
        for n in list(growing)[: QUICK if quick else None]:
            for mode in modes(growing[n], place):
                one = point(growing[n], place, mode, QUICK if quick else ROUNDS)
                yield {"series": series, "n": n, "mode": mode, **one}


def point(workload: Workload, place: str, mode: str, rounds: int) -> dict[str, Any]:
    run, wait = runner(workload, place, mode), timing.waiter(place)
    seconds = timing.ROUND_S if rounds > QUICK else 1e-3
    steps = timing.steps_in(run, wait, seconds)
    taken = [timing.round_s(run, steps, wait) for _ in range(rounds)]
    low, median, high = (s * 1e6 for s in timing.quartiles(taken))
    return {"us_per_step": median, "quartiles_us": [low, high]}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.device == "cuda" and (trouble := machine.problems()):
        print(f"benchmarks.growth: no usable GPU: {trouble[0].reason}")
        return 2
    found = []
    with watched() as others:
        for one in measured(options.device, options.quick):
            found.append(one)
            print(
                f"{one['series']:11}{one['n']:>11,} {one['mode']:9}{one['us_per_step']:>13,.1f} us"
            )
    place, threads = options.device, options.threads
    about = records.header(place, device_name(place), threads=threads, commit=options.commit) | {
        "quick": options.quick,
        "versions": {"gpunet": gn.__version__, "numpy": np.__version__},
        "what": WHAT,
        "others_share": others.share,
    }
    print(f"written to {records.write(options.out, about | {'points': found})}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few small points: for a try")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON")
    parser.add_argument("--commit", help="the commit, for a copy that git does not know")
    options = parser.parse_args(arguments)
    if options.quick and options.out.resolve() == RESULTS:
        parser.error("--quick measures nothing: give another --out than the results' folder")
    return options


if __name__ == "__main__":
    given = _options(None)
    threads.limit(given.threads, given.device)
    sys.exit(main())

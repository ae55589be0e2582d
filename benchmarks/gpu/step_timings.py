"""What verify_gpu times of the training step: eager and captured, large and small, and streaming.

W1, W2 and W3 are the workloads of `gpunet bench`. A round ends with a wait for the device, its only
one; a time is the median of the rounds, in seconds a step.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.gpu.steps import compare_streaming
from benchmarks.workloads import Workload, order, rows, tiny, training_step, workloads
from gpunet import gemm
from gpunet.backend import to_device
from gpunet.bench.timing import Run, quartiles, repeated, round_s, waiter
from gpunet.train import stream as streams
from gpunet.train.feed import Feed
from gpunet.train.groups import Epoch
from gpunet.train.launches import AT_ONCE
from gpunet.train.progress import Progress
from gpunet.train.updates import updating

Timing = dict[str, Any]

ROUNDS = {"cuda": 20, "sim": 3}
CALLS = {"cuda": 50, "sim": 2}  # steps a round
EPOCH = {"cuda": 600, "sim": AT_ONCE + 1}  # steps, where a launch holds AT_ONCE of them
LARGE = {"cuda": (7, 5), "sim": (3, 1)}  # rounds and steps of W3
MULTIPLIED = {"cuda": 4096, "sim": 64}  # rows of the square matrices
STREAMED = {"cuda": 16, "sim": 4}  # batches of W3 that are streamed
PRECISIONS = ("float32", "tf32", "bfloat16")


def workload(name: str, place: str) -> Workload:
    """A GPU's workload, or on the simulated GPU a small one like it."""
    found = workloads("cuda")[name]
    return found if place == "cuda" else tiny(found)


def timed(run: Run, steps: int, rounds: int) -> Timing:
    """Seconds a step over `rounds` rounds of run(steps), after two that are not counted."""
    wait = waiter("cuda")
    seconds = [round_s(run, steps, wait) for _ in range(rounds + 2)][2:]
    low, median, high = quartiles(seconds)
    return {"median_s": median, "quartiles_s": [low, high], "rounds": rounds, "calls": steps}


# Steps


def step_timings(place: str) -> dict[str, Any]:
    """{"timings": {"W1 step, captured": ...}}."""
    timings: dict[str, Timing] = {}
    for name in ("W1", "W2"):
        w = workload(name, place)
        found = modes(w, CALLS[place], ROUNDS[place])
        found[f"captured, {AT_ONCE} a launch"] = many_a_launch(w, place)
        timings |= {f"{name} step, {mode}": timing for mode, timing in found.items()}
    return {"timings": timings | large_steps(place)}


def modes(w: Workload, calls: int, rounds: int) -> dict[str, Timing]:
    """A step on one batch: on the tape, fused, and fused and captured."""
    x, t = (to_device(a, "cuda") for a in data(w, 1))
    found = {}
    for mode in ("tape", "fused", "captured"):
        step: Any = training_step(w, "cuda", fuse=mode != "tape")
        step = gn.capture(step) if mode == "captured" else step
        found[mode] = timed(repeated(lambda s=step: s(x, t)), calls, rounds)
        if mode == "captured":
            (recording,) = step.graphs.by_key.values()
            found[mode]["nodes"] = nodes(recording.graph)
    return found


def data(w: Workload, batches: int) -> tuple[Any, Any]:
    """Rows and labels of so many batches, on the host."""
    return rows(replace(w, rows=w.batch * batches))


def nodes(graph: Any) -> int | None:
    """How many a graph has, counted in its picture; None where there is no picture."""
    try:
        return len(re.findall(r'^\s*"[^"]*"\s*\[', graph.debug_dot_str(), re.MULTILINE))
    except Exception:
        return None


def many_a_launch(w: Workload, place: str) -> Timing:
    """A step of an epoch as a Trainer runs it, of data on the GPU: AT_ONCE steps a launch."""
    return timed(epochs(w, EPOCH[place], "auto"), EPOCH[place], max(3, ROUNDS[place] // 4))


def epochs(w: Workload, batches: int, capture: bool | str, stream: bool = False) -> Run:
    """run(n): the epochs that n updates are, each of `batches`."""
    step = training_step(w, "cuda")
    feed = Feed(data(w, batches), step.model, step.loss, "train", stream)
    updates = updating(step, feed, capture)  # type: ignore[arg-type]
    given = list(order(len(feed), w.batch, 0))
    groups = Epoch(feed, np.concatenate(given), [*map(len, given)], 1)

    def run(steps: int) -> None:
        for _ in range(steps // batches):
            with closing(updates.run(groups, Progress({}, 1, 1))) as running:
                for _ in running:
                    pass

    return run


# Large products


def large_steps(place: str) -> dict[str, Timing]:
    """W3 in each precision, and what part it has of the rate of a large product in that."""
    rounds, calls = LARGE[place]
    w, timings = workload("W3", place), {}
    for precision in PRECISIONS:
        with gn.matmul_precision(precision):
            product = large_product(precision, MULTIPLIED[place], calls, rounds)
            found = modes(w, calls, rounds)
        for timing in found.values():
            timing["gflop_per_s"] = w.flops / timing["median_s"] / 1e9
            timing["share_of_product"] = timing["gflop_per_s"] / product["gflop_per_s"]
        timings[f"product, {precision}"] = product
        timings |= {f"W3 step, {mode}, {precision}": timing for mode, timing in found.items()}
    return timings


def large_product(precision: str, n: int, calls: int, rounds: int) -> Timing:
    """An (n, n) product: cupy.matmul's in float32, for which it has no other, else gpunet's."""
    cupy = gn.backend.cupy()
    draw = np.random.default_rng(0)  # equal numbers would need less power, and run faster
    a, b = (to_device(draw.standard_normal((n, n), np.float32), "cuda") for _ in range(2))
    out = cupy.empty((n, n), np.float32)
    product = cupy.matmul if precision == "float32" else gemm.gemm
    timing = timed(repeated(lambda: product(a, b, out=out)), calls, rounds)
    return timing | {"gflop_per_s": 2 * n**3 / timing["median_s"] / 1e9, "rows": n}


# Streaming


def streaming(place: str) -> dict[str, Any]:
    """Whether data that stays on the host trains as data on the GPU, and what it costs."""
    w2 = workload("W2", place)
    checks = {f"{d} streamed": compare_streaming(w2, d) for d in ("float32", "float64")}
    w, batches, (rounds, _) = workload("W3", place), STREAMED[place], LARGE[place]
    runs = {
        "copies alone": copies(w, batches),
        "resident": epochs(w, batches, False),
        "streamed": epochs(w, batches, False, stream=True),
    }
    timings = {f"W3 step, {what}": timed(run, batches, rounds) for what, run in runs.items()}
    alone, compute, both = (timing["median_s"] for timing in timings.values())
    # 1: the shorter of the two is hidden behind the other; 0: they ran one after the other.
    hidden = (alone + compute - both) / min(alone, compute)
    timings["W3 step, streamed"]["hidden"] = hidden
    return {"checks": checks, "timings": timings}


def copies(w: Workload, batches: int) -> Run:
    """run(n): n batches gathered and copied to the GPU, and nothing done with them."""
    parts = [streams.HostRows(a, a.dtype) for a in data(w, batches)]
    groups = list(order(w.batch * batches, w.batch, 0))

    def run(steps: int) -> None:
        for _ in range(steps // batches):
            with closing(streams.batches(parts, groups)) as running:
                for _ in running:
                    pass

    return run

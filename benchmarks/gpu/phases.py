"""What verify_gpu times of steps in phases: first what one waits for between two, then the steps.

The latency of a grid barrier and of a graph's node are what docs/step.md's estimates rest on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu.step_timings import CALLS, ROUNDS, timed, workload
from benchmarks.workloads import rows, training_step
from gpunet.backend import cupy, to_device
from gpunet.bench import in_phases
from gpunet.bench.timing import Run
from gpunet.phases.launch import resident
from gpunet.phases.plan import THREADS

EMPTY = 'extern "C" __global__ void empty() {}'
BARRIERS = """#include <cooperative_groups.h>
extern "C" __global__ void barriers(int count) {
    for (int k = 0; k < count; ++k) cooperative_groups::this_grid().sync();
}
"""
# The same by hand, but that the last block to come does not wait for its own number to come back.
# all: the numbers of earlier launches, and of this one's barriers so far.
BY_HAND = """extern "C" __global__ void barriers(int count, unsigned *arrived, unsigned all) {
    for (int k = 0; k < count; ++k) {
        __syncthreads();
        all += gridDim.x;
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" :: "l"(arrived) : "memory");
            unsigned now;
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(arrived)
                             : "memory");
            } while (int(now - all) < 0);
        }
        __syncthreads();
    }
}
"""
BLOCKS = {"cuda": 132, "sim": 2}
STEPS = {"cuda": in_phases.AT_ONCE, "sim": 2}  # a round
NAMES = {"cuda": ("W1", "W2", "W5"), "sim": ("W5",)}
NODES = 100  # of a graph


def phases(place: str) -> dict[str, Any]:
    """{"timings": {"grid barrier": ..., "W1 step, phases": ...}}."""
    rounds = ROUNDS[place]
    timings = {
        "grid barrier": timed(barriers(BLOCKS[place]), CALLS[place], rounds),
        "graph node": timed(nodes(), CALLS[place] * NODES, rounds),
    }
    if place == "cuda":  # g++ knows no such instructions
        by_hand = barriers_by_hand(BLOCKS[place])
        timings["grid barrier, by hand"] = timed(by_hand, CALLS[place], rounds)
    for name in NAMES[place]:
        w = workload(name, place)
        x, t = (to_device(a, "cuda") for a in rows(w))
        for persistent in (False, True):
            phased = in_phases.phased_of(training_step(w, "cuda"), x, t)
            run = in_phases.runner(phased, len(x), persistent)
            mode = "persistent" if persistent else "phases"
            timings[f"{name} step, {mode}"] = timed(run, STEPS[place], rounds)
    return {"timings": timings}


def barriers(most: int) -> Run:
    """run(n): one launch whose blocks, one for each processor, meet n times."""
    kernel = cupy().RawKernel(BARRIERS, "barriers", enable_cooperative_groups=True)
    blocks = min(most, resident(cupy(), kernel))

    def run(count: int) -> None:
        kernel((blocks,), (THREADS,), (np.int32(count),))

    return run


def barriers_by_hand(most: int) -> Run:
    """The same, without CUDA's own barrier."""
    xp = cupy()
    kernel = xp.RawKernel(BY_HAND, "barriers", enable_cooperative_groups=True)
    blocks, arrived, made = min(most, resident(xp, kernel)), xp.zeros(1, np.uint32), 0

    def run(count: int) -> None:
        nonlocal made
        kernel((blocks,), (THREADS,), (np.int32(count), arrived, np.uint32(made % 2**32)))
        made += count * blocks

    return run


def nodes() -> Run:
    """run(n): n empty kernels, one after the other, in graphs of NODES."""
    kernel, stream = cupy().RawKernel(EMPTY, "empty"), cupy().cuda.Stream(non_blocking=True)
    with stream:
        kernel((1,), (32,), ())
        stream.begin_capture()
        for _ in range(NODES):
            kernel((1,), (32,), ())
        graph = stream.end_capture()

    def run(count: int) -> None:
        for _ in range(count // NODES):
            graph.launch()

    return run

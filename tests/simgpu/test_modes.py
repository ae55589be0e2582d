"""Each mode finds a bug that is planted here, and that the plain mode does not show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu

pytestmark = pytest.mark.usefixtures("cp")
ROOT = Path(__file__).resolve().parents[2]

# ---------------------------------------------------------------------------------------------
# Order: a block that relies on the one before it


def test_another_order_shows_that_blocks_rely_on_each_other(cp: Any) -> None:
    code = """extern "C" __global__ void k(int *out) {
        const int b = blockIdx.x;
        out[b] = b == 0 ? 1 : out[b - 1] + 1; }"""
    kernel = cp.RawKernel(code, "k")

    def run() -> list[int]:
        out = cp.zeros(6, np.int32)
        kernel((6,), (1,), (out,))
        return list(map(int, out.get()))

    assert run() == [1, 2, 3, 4, 5, 6]
    for order in ("reverse", "random"):
        with simgpu.schedule(order, seed=3):
            assert run() != [1, 2, 3, 4, 5, 6]


# ---------------------------------------------------------------------------------------------
# Deferred streams: what nobody waits for


def test_a_copy_that_nobody_waits_for_is_read_too_early(cp: Any) -> None:
    def read(wait: bool) -> float:
        copies, x = cp.cuda.Stream(non_blocking=True), cp.zeros(4)
        host = np.frombuffer(cp.cuda.alloc_pinned_memory(32), np.float64, 4)
        host[:] = 7
        x.set(host, copies)
        if wait:
            cp.cuda.get_current_stream().wait_event(copies.record())
        return float(x.sum())

    assert read(wait=False) == 28  # nothing is seen where every stream is always idle
    with simgpu.schedule(streams="deferred"):
        assert read(wait=False) == 0
        assert read(wait=True) == 28


def test_pinned_memory_that_is_overwritten_too_early(cp: Any) -> None:
    def sent(wait: bool) -> list[float]:
        stream = cp.cuda.Stream(non_blocking=True)
        host = np.frombuffer(cp.cuda.alloc_pinned_memory(16), np.float64, 2)
        arrays = [cp.zeros(2), cp.zeros(2)]
        cp.cuda.get_current_stream().synchronize()
        for number, x in enumerate(arrays, start=1):
            host[:] = number
            x.set(host, stream)
            if wait:
                stream.synchronize()
        stream.synchronize()
        return [float(x[0]) for x in arrays]

    assert sent(wait=False) == [1, 2]
    with simgpu.schedule(streams="deferred"):
        assert sent(wait=False) == [2, 2]
        assert sent(wait=True) == [1, 2]


def test_blocking_streams_wait_for_the_null_stream_and_it_for_them(cp: Any) -> None:
    with simgpu.schedule(streams="deferred"):
        blocking, x = cp.cuda.Stream(), cp.zeros(4)
        x += 1
        with blocking:
            x *= 10
        x += 5
        assert x.get().tolist() == [15] * 4


def test_what_streams_still_hold_runs_at_the_end(cp: Any) -> None:
    x = cp.zeros(3)
    with simgpu.schedule(streams="deferred"):
        x += 2
    assert x.get().tolist() == [2] * 3


def test_polling_an_event_ends(cp: Any) -> None:
    with simgpu.schedule(streams="deferred"):
        x = cp.zeros(3)
        x += 1
        event = cp.cuda.Event()
        event.record()
        asked = 1
        while not event.done:
            asked += 1
        assert asked == 2


def test_an_error_comes_at_the_wait(cp: Any) -> None:
    kernel = cp.RawKernel('extern "C" __global__ void k() { assert(threadIdx.x < 3); }', "k")
    with simgpu.schedule(streams="deferred"):
        kernel((1,), (4,), ())
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=r"thread \(3, 0, 0\)"):
            cp.cuda.get_current_stream().synchronize()


# ---------------------------------------------------------------------------------------------
# A GPU's arithmetic, which is a process's own

ARITHMETIC = """
import numpy as np
from gpunet.testing import simgpu
with simgpu.activate() as cp:
    a, b, c = np.random.default_rng(0).normal(size=(3, 4096)).astype(np.float32)
    multiply_add = cp.ElementwiseKernel("T a, T b, T c", "T y", "y = a * b + c", "multiply_add")
    fused = multiply_add(*map(cp.asarray, (a, b, c))).get()
    exact = (a.astype(float) * b + c).astype(np.float32)
    print("two roundings", (fused != a * b + c).sum())
    print("one rounding", (fused != exact).sum())
    tiny = cp.asarray(np.array([1e-40], np.float32))
    print("denormals left", int((tiny * 1).get()[0] != 0), int((tiny.get() * 1)[0] != 0))
    x = np.linspace(0.1, 3, 4096, dtype=np.float32)
    for name in ("exp", "log", "tanh"):
        found, wanted = getattr(cp, name)(cp.asarray(x)).get(), getattr(np, name)(x.astype(float))
        rounded = wanted.astype(np.float32)
        ulps = np.abs(found - wanted) / np.spacing(np.abs(rounded))
        print(name, bool(ulps.max() < 4), bool((found != rounded).mean() > 0.3))
"""


def arithmetic(mode: str) -> dict[str, list[str]]:
    environment = {**os.environ, "GPUNET_SIM_ARITHMETIC": mode, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ARITHMETIC],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {line.rsplit(" ", 2)[0]: line.split()[-2:] for line in done.stdout.splitlines()}


def test_arithmetic_as_on_a_gpu() -> None:
    plain, gpu = arithmetic("numpy"), arithmetic("gpu")
    assert plain["two"] == ["roundings", "0"]  # as NumPy computes it
    assert gpu["one"] == ["rounding", "0"]
    assert int(gpu["two"][1]) > 100
    assert plain["denormals left"] == ["1", "1"]
    assert gpu["denormals left"] == ["0", "1"]  # flushed in the kernel, not in the caller's NumPy
    for name in ("exp", "log", "tanh"):
        assert plain[name] == ["True", "False"]
        assert gpu[name] == ["True", "True"]


# ---------------------------------------------------------------------------------------------
# Cooperative launches

RING = r"""#include <cooperative_groups.h>
extern "C" __global__ void ring(int *out, int steps) {
    __shared__ int mine;
    auto grid = cooperative_groups::this_grid();
    const int n = gridDim.x, b = blockIdx.x;
    for (int step = 0; step < steps; ++step) {
        if (threadIdx.x == 0) mine = out[(b + 1) % n];
        grid.sync();
        if (threadIdx.x == 1) out[b] = mine + 1;
        grid.sync();
    }
}"""


def rotated(cp: Any, code: str, blocks: int = 5, steps: int = 3) -> list[int]:
    kernel = cp.RawKernel(code, "ring", enable_cooperative_groups=True)
    out = cp.arange(blocks, dtype=np.int32)
    kernel((blocks,), (40,), (out, np.int32(steps)))
    return list(map(int, out.get()))


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_blocks_of_a_cooperative_launch_wait_for_each_other(cp: Any, order: str) -> None:
    with simgpu.schedule(order, seed=4):
        assert rotated(cp, RING) == [(b + 3) % 5 + 3 for b in range(5)]


def test_a_grid_barrier_that_is_missing_shows(cp: Any) -> None:
    code = RING.replace("        grid.sync();\n        if", "        __syncthreads();\n        if")
    found = []
    for order in ("forward", "reverse"):
        with simgpu.schedule(order):
            found.append(rotated(cp, code))
    assert any(one != [(b + 3) % 5 + 3 for b in range(5)] for one in found)


def test_a_block_that_does_not_reach_the_grid_barrier(cp: Any) -> None:
    code = RING.replace("    for (int", "    if (b == 2) return;\n    for (int")
    with pytest.raises(cp.cuda.driver.CUDADriverError, match=r"block \(2, 0, 0\) has returned"):
        rotated(cp, code)


def test_a_grid_barrier_needs_a_cooperative_launch(cp: Any) -> None:
    out = cp.zeros(4, np.int32)
    with pytest.raises(
        cp.cuda.driver.CUDADriverError, match=r"grid\.sync in a launch that is not cooperative"
    ):
        cp.RawKernel(RING, "ring")((4,), (32,), (out, np.int32(1)))


def test_shared_memory_that_a_processor_has_once(cp: Any) -> None:
    """A block with more than half of it is alone there; none is, with more than a block has."""
    kernel = cp.RawKernel(RING, "ring", enable_cooperative_groups=True)
    occupancy = cp.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
    assert occupancy(kernel.kernel.ptr, 256, 0) == 8
    assert occupancy(kernel.kernel.ptr, 256, 120_000) == 0
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = 240_000
    kernel.max_dynamic_shared_size_bytes = 120_000
    assert occupancy(kernel.kernel.ptr, 256, 120_000) == 1
    out = cp.zeros(300, np.int32)
    with pytest.warns(UserWarning, match="reduced from 133 to 132"):  # by CuPy
        kernel((133,), (256,), (out, np.int32(0)), shared_mem=120_000)


COPIES = r"""#include <cuda_pipeline.h>
extern "C" __global__ void copies(const int *x, int *before, int *behind, int bytes) {
    __shared__ int box[40];
    const int i = threadIdx.x;
    box[i] = -1;
    __pipeline_memcpy_async(box + i, x + i, bytes);
    __pipeline_commit();
    before[i] = box[i];
    __pipeline_wait_prior(0);
    behind[i] = box[i];
}"""


def test_an_asynchronous_copy_is_there_when_it_was_waited_for(cp: Any) -> None:
    kernel, x = cp.RawKernel(COPIES, "copies"), cp.arange(80, dtype=np.int32)
    before, behind = cp.zeros(80, np.int32), cp.zeros(80, np.int32)
    kernel((2,), (40,), (x, before, behind, np.int32(4)))
    assert set(before.get().tolist()[:40]) == {-1}
    assert behind.get().tolist()[:40] == list(range(40))
    for bytes_, at in ((3, 0), (8, 1)):
        with pytest.raises(cp.cuda.driver.CUDADriverError, match="takes 4, 8 or 16 bytes, aligned"):
            kernel((1,), (40,), (x[at:], before, behind, np.int32(bytes_)))


def test_a_grid_that_the_device_cannot_hold(cp: Any) -> None:
    kernel = cp.RawKernel(RING, "ring", enable_cooperative_groups=True)
    out = cp.zeros(70000, np.int32)
    with pytest.raises(ValueError, match="exceeds the limit"):
        kernel((100, 100, 1), (1024,), (out, np.int32(1)))

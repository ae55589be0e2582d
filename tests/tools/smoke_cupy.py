"""Whether the simulated GPU fits the CuPy that is installed: a few lines of everything, in seconds.

    python tests/tools/smoke_cupy.py

needs gpunet, NumPy and a CuPy wheel. CI runs it under other versions of CuPy and Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from gpunet.testing import simgpu

SUM = r"""extern "C" __global__ void sum(const float *x, float *y, int n) {
    __shared__ float part[64];
    float v = 0;
    for (int i = threadIdx.x; i < n; i += 64) v += x[i];
    part[threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.x == 0) for (int i = 0; i < 64; ++i) y[0] += part[i];
}"""
TEMPLATE = "template <class T, int N> __global__ void add(T *x) { x[threadIdx.x] += N; }"
Check = Callable[[Any], bool]


def raw_kernel(cp: Any) -> bool:
    x, y = cp.arange(1000, dtype="f4"), cp.zeros(1, "f4")
    cp.RawKernel(SUM, "sum")((1,), (64,), (x, y, np.int32(1000)))
    return float(y[0]) == 499500


def raw_module(cp: Any) -> bool:
    module = cp.RawModule(code=TEMPLATE, name_expressions=["add<float, 3>"])
    x = cp.zeros(4, "f4")
    module.get_function("add<float, 3>")((1,), (4,), (x,))
    return x.get().tolist() == [3] * 4


def captured(cp: Any) -> bool:
    x, y = cp.arange(4, dtype="f4"), cp.zeros(4, "f4")
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        cp.add(y, x, out=y)
        graph = stream.end_capture()
        graph.launch()
        graph.launch()
    stream.synchronize()
    return y.get().tolist() == [0, 2, 4, 6]


def pinned(cp: Any) -> bool:
    memory = cp.cuda.alloc_pinned_memory(64)
    host = np.frombuffer(memory, "f8", 8)
    host[:] = 3
    x = cp.empty(8)
    x.set(host)
    event = cp.cuda.Event()
    event.record()
    event.synchronize()
    return float(x.sum()) == 24


CHECKS: dict[str, Check] = {
    "ufuncs": lambda cp: np.allclose(cp.exp(cp.arange(5.0)).get(), np.exp(np.arange(5.0))),
    "reductions": lambda cp: int(cp.arange(1000).sum()) == 499500,
    "indexing": lambda cp: cp.arange(10)[cp.arange(10) % 3 == 0].get().tolist() == [0, 3, 6, 9],
    "sort": lambda cp: cp.sort(cp.asarray([3, 1, 2])).get().tolist() == [1, 2, 3],
    "matmul": lambda cp: (cp.ones((3, 4)) @ cp.ones((4, 2))).get().tolist() == [[4, 4]] * 3,
    "half": lambda cp: float(cp.ones(3, "f2").sum()) == 3,
    "complex": lambda cp: complex((cp.ones(2, "c16") * 1j).sum()) == 2j,
    "random": lambda cp: bool((cp.random.random(100) < 1).all()),
    "raw kernel": raw_kernel,
    "raw module": raw_module,
    "capture": captured,
    "pinned memory": pinned,
    "properties": lambda cp: cp.cuda.runtime.getDeviceProperties(0)["major"] == 9,
    "pool": lambda cp: cp.get_default_memory_pool().used_bytes() >= 0,
}


def main() -> int:
    usable, reason = simgpu.available()
    if not usable:
        print(reason)
        return 2
    failed = 0
    with simgpu.activate() as cp:
        for name, check in CHECKS.items():
            try:
                passed: object = check(cp)
            except Exception as error:
                passed = f"{type(error).__name__}: {error}"
            failed += passed is not True
            print(f"{name:16s} {'ok' if passed is True else passed}", flush=True)
        print(f"CuPy {cp.__version__}, Python {sys.version.split()[0]}: {failed} failed")
    if cp.cuda.is_available():
        print("outside of activate() there must be no GPU")
        failed += 1
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

"""A simulated GPU: the installed CuPy itself, on a machine without a GPU.

    from gpunet.testing import simgpu

    def test_my_kernel():
        with simgpu.activate():
            import cupy as cp

            double = cp.ElementwiseKernel("T x", "T y", "y = 2 * x", "twice")
            with simgpu.count() as counters:
                y = double(cp.arange(5, dtype=cp.float32))
            assert counters.launches == 2 and counters.d2h_copies == 0
            assert cp.asnumpy(y).tolist() == [0, 2, 4, 6, 8]

CuPy's wheel is unchanged; below it, the CUDA driver, runtime, NVRTC, cuBLAS and cuRAND are ours.
Kernels are compiled by g++ from their CUDA text. It shows no race between blocks, no speed, and the
CPU's rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

from . import library, start
from .binding import DoesNotFit
from .counters import Counters, count

__all__ = [
    "Call",
    "Counters",
    "DoesNotFit",
    "activate",
    "active",
    "available",
    "count",
    "schedule",
    "trace",
]

_lock = threading.Lock()
_depth = 0


def available() -> tuple[bool, str]:
    """Whether there can be a simulated GPU in this process, and if not, why."""
    return start.problem() is None, start.problem() or ""


def active() -> bool:
    """Whether CuPy runs on the simulated GPU now."""
    return _depth > 0


@contextmanager
def activate() -> Iterator[ModuleType]:
    """Let CuPy have the simulated GPU inside the block, in all threads; may be nested.

    Gives `cupy`. Outside of it CuPy sees no GPU. DoesNotFit, which says why, for a CuPy that is not
    supported or was imported before without the simulated GPU.
    """
    global _depth
    start.bind()
    with _lock:
        _depth += 1
        start.switch(True)
    try:
        yield start.cupy()
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                start.switch(False)


@contextmanager
def schedule(order: str = "", seed: int = 0, streams: str = "") -> Iterator[None]:
    """Run what is launched in the block in another order; see `modes`.

    order: of the blocks and threads of raw kernels. streams: when the work of streams runs.
    """
    library.set_modes(library.load(), order, seed, streams)
    try:
        yield
    finally:
        library.set_modes(library.load())


class Call(NamedTuple):
    """One thing that the device was asked for."""

    # kernel, h2d, d2h, d2d, memset, graph, host, record, wait; "wait for ..." of the host
    kind: str
    stream: int  # 0 is the null stream
    name: str  # of a kernel


@contextmanager
def trace() -> Iterator[list[Call]]:
    """What the device is asked for inside the block, in order; the list is filled at its end."""
    calls: list[Call] = []
    ours = library.load()
    ours.sim_trace(1)
    try:
        yield calls
    finally:
        for line in ours.sim_traced().decode().splitlines():
            kind, stream, name = line.split("\t")
            calls.append(Call(kind, int(stream), name))
        ours.sim_trace(0)


start.watch()

"""A simulated GPU: a stand-in for `cupy` on machines without one.

    from gpunet.testing import simgpu

    def test_my_kernel():
        with simgpu.activate():
            import cupy as cp

            double = cp.ElementwiseKernel("T x", "T y", "y = 2 * x", "double")
            with simgpu.count() as counters:
                y = double(cp.arange(5, dtype=cp.float32))
            assert counters.launches == 2 and counters.d2h_copies == 0
            assert cp.asnumpy(y).tolist() == [0, 2, 4, 6, 8]

Kernels are compiled by g++ from their CUDA text, arrays refuse what CuPy's refuse, and captures
record launches. It shows no race between blocks, no speed, and NumPy's rounding.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from .compiler import available
from .counters import Counters, count
from .namespace import MODULES, cupy

__all__ = ["Counters", "activate", "available", "count", "cupy"]

_lock = threading.Lock()
_depth = 0
_hidden: dict[str, ModuleType] = {}


@contextmanager
def activate() -> Iterator[ModuleType]:
    """Let `import cupy` give the stand-in inside the block, in all threads; may be nested.

    Gives the stand-in, too. Another CuPy that was imported before is put back at the end.
    """
    _enter()
    try:
        yield cupy
    finally:
        _leave()


def _enter() -> None:
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            _hidden.update(_take_out())
            sys.modules.update(MODULES)


def _leave() -> None:
    global _depth
    with _lock:
        _depth -= 1
        if _depth == 0:
            _take_out()
            sys.modules.update(_hidden)
            _hidden.clear()


def _take_out() -> dict[str, ModuleType]:
    """Remove CuPy's modules from those that are imported, and return them."""
    found = [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]
    return {name: sys.modules.pop(name) for name in found}

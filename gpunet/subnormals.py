"""Subnormal numbers, in float32 those below 1.2e-38: on the CPU an optimizer's update takes them
for 0 and leaves none, and so does the walk through a fused step.

So do CuPy's kernels on a GPU (it compiles with -ftz=true). A processor takes some hundred times as
long for them. What decays, as Adam's m does where an input is 0 most of the time, arrives there
after some eight hundred updates and would stay; and so do the gradients of a network that is sure
of its answers. float64 keeps its own, on both.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

FLUSH = 0x8040  # bits of MXCSR: results are flushed to zero, operands count as zero
MXCSR = 7  # its place among the 32-bit words of the C library's fenv_t, on Linux


@cache
def _libm() -> Any:
    """The C library's functions for it; None where they are not known: NumPy keeps subnormals
    there, and compiled loops do as NumPy does.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        library = ctypes.CDLL("libm.so.6")
    except OSError:
        return None
    return library


def are_flushed(dtype: Any) -> bool:
    """Whether updates of arrays of this dtype have none."""
    return bool(dtype == np.float32 and _libm() is not None)


@contextmanager
def flushed(dtype: Any) -> Iterator[None]:
    """Inside it this thread's arithmetic has none, where `are_flushed` says so."""
    if not are_flushed(dtype):
        yield
        return
    before, inside = (ctypes.c_uint32 * 8)(), (ctypes.c_uint32 * 8)()
    libm = _libm()
    libm.fegetenv(before)
    ctypes.memmove(inside, before, ctypes.sizeof(before))
    inside[MXCSR] |= FLUSH
    libm.fesetenv(inside)
    try:
        yield
    finally:
        libm.fesetenv(before)

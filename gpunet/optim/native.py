"""The optimizers' CUDA text as a loop on the CPU, where there is g++.

NumPy passes over memory once an operation, the loop once an update. Every product, sum, quotient
and root is rounded alike, so the results are NumPy's: it works while g++ compiles in the
background, and where there is none. GPUNET_CPU_KERNELS says otherwise: `native` waits for the loop,
`numpy` makes none.

`gpunet.cxx` compiles it; device.h has CUDA's functions in C++.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from gpunet import cxx, subnormals, threads
from gpunet.backend import Array
from gpunet.kernel import CudaText
from gpunet.optim.rows import ROWS

VARIABLE = "GPUNET_CPU_KERNELS"
NUMBERS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
# The last two make jumps of choices, which keep a loop from vectors: RProp's takes 14 times as
# long.
HEADERS = (cxx.SLOTS, cxx.FLUSHING)
FLAGS = ("-O3", "-march=native", "-fno-tree-pre", "-fno-tree-loop-im")
PART = 1 << 17  # elements: a loop over fewer takes no longer than waking a thread
LEAST = 1 << 14  # elements: fewer are not worth a compiler,
OFTEN = 1 << 11  # unless they have been updated so many times
PATIENCE = 5.0  # seconds at the end of a process for a compiler that has begun
Made = TypeVar("Made")
Pointer = ctypes.c_char * 0  # made three times as fast as `array.ctypes.data`, and keeps the array


@cache
def choice() -> str:
    """What GPUNET_CPU_KERNELS says: "native", "numpy", or "" for whichever is quicker; looked up
    once. ValueError for another word.
    """
    found = os.environ.get(VARIABLE, "")
    if found not in ("", "numpy", "native"):
        raise ValueError(f"{VARIABLE} is {found!r}; leave it empty, or set `numpy` or `native`")
    return found


def suits(arrays: Sequence[Array]) -> bool:
    """Whether a loop can take them: float32 or float64, of one dtype and shape, C-contiguous and
    writeable.
    """
    dtype, shape = arrays[0].dtype, arrays[0].shape
    return dtype in NUMBERS and all(
        a.flags.carray and a.dtype == dtype and a.shape == shape for a in arrays
    )


class Later(Generic[Made]):
    """What is compiled in the background: `found` is None until it is there, and for good where it
    cannot be made.
    """

    def __init__(self, make: Callable[[], Made]) -> None:
        self.found: Made | None = None
        self._thread = threading.Thread(
            target=self._run, args=(make,), name="gpunet-compile", daemon=True
        )
        self._thread.start()
        atexit.register(self._finish)

    def _run(self, make: Callable[[], Made]) -> None:
        with suppress(Exception):  # no g++, no folder: NumPy goes on
            self.found = make()

    @property
    def is_running(self) -> bool:
        """Whether it may still come."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Until it is there, or will never be."""
        self._thread.join()

    def _finish(self) -> None:
        """Let a short process leave the library to the next one."""
        with suppress(KeyboardInterrupt):
            self._thread.join(PATIENCE)


class Loop:
    """An update's CUDA text, compiled for arrays of `dtype` and `width` scalars.

    CompileError where there is no g++; where it refuses the text, its messages, with the lines of
    the .cu file.
    """

    def __init__(self, text: CudaText, dtype: Any, width: int) -> None:
        usable, reason = cxx.available()
        if not usable:
            raise cxx.CompileError(
                f"{VARIABLE}=native needs a compiler: {reason}, or leave {VARIABLE} empty"
            )
        self.dtype, self._width = np.dtype(dtype), width
        source = program(text, self.dtype, width)
        library = cxx.compile_shared(source, name=text.name, flags=FLAGS, headers=HEADERS)
        self.library = library
        self._run, self._run_all = library.gpunet_update, library.gpunet_updates
        self._run.restype = self._run_all.restype = None

    def over(self, arrays: Sequence[Array]) -> Bound:
        """The loop over these: gradient, parameter and states, as `suits` wants them."""
        return Bound(self._run, arrays, np.empty(self._width + 1, self.dtype))

    def runs(self, ends: Array, rows: Array, arrays: Sequence[Array]) -> None:
        """Updates with scalars of their own, in place: of the elements ends[k] = (start, stop) with
        the scalars and the norm rows[k]. ends: int64 (runs, 2). rows: (runs, scalars + 1). Both
        C-contiguous; arrays as for `over`.
        """
        pointers = [Pointer.from_buffer(a) for a in (ends, rows, *arrays)]
        self._run_all(ctypes.c_ssize_t(0), ctypes.c_ssize_t(len(ends)), *pointers)


class Bound:
    """A loop over arrays that stay where they are: to call it is one call of a C function.

    numbers: what the C function reads the row and the norm from.
    """

    def __init__(self, run: Any, arrays: Sequence[Array], numbers: Array) -> None:
        self._numbers = numbers
        self._row: Sequence[Any] | None = None
        pointers = [Pointer.from_buffer(a) for a in (numbers, *arrays)]
        size = arrays[0].size
        count = max(1, min(threads.cores(), size // PART))
        cuts = [ctypes.c_ssize_t(size * k // count) for k in range(count + 1)]
        self._parts = [partial(run, *cut, *pointers) for cut in pairwise(cuts)]

    def __call__(self, row: Sequence[Any], norm: Array | None) -> None:
        """One update, in place. row: the scalars. norm: array (1,), or None."""
        if norm is not None or row is not self._row:
            self._numbers[:-1] = row
            self._numbers[-1] = 0 if norm is None else norm[0]
            self._row = row
        if len(self._parts) == 1:
            self._parts[0]()
        else:
            threads.side_by_side(self._parts)


def program(text: CudaText, dtype: np.dtype[Any], width: int) -> str:
    """A C++ function gpunet_update(start, stop, scalars and norm, grad, param, states...) around
    the CUDA text, for arrays of `dtype`; and gpunet_updates(first, last, ends, ...), that of
    several ranges of elements, each with its own scalars and norm. gpunet_noted, for a script, is
    that of all elements with the scalars of the table's row for the updates counted.
    """
    _, outs, body = text.arguments
    flushing = f"const Flushing flushing({int(subnormals.are_flushed(dtype))});"
    names = ["grad_", *(item.split()[1] for item in outs.split(","))]
    pointers = ", ".join(f"T *{n}all" for n in names)
    elements = " ".join(f"T &{n} = {n}all[i];" for n in names)
    passed = ", ".join(f"{n}all" for n in names)
    return f"""// for {processor()}
#define SIMGPU_CUPY_HEADERS
#include "device.h"
#include "slots.h"
#include "flushing.h"
typedef {NUMBERS[dtype]} T;
{text.preamble}
#line 1 "{text.name}: loop"
static void __attribute__((noinline))
updated(ptrdiff_t start, ptrdiff_t stop, const T *numbers, {pointers}) {{
    T rows[{width + 1}];  // a copy, which no store can change
    for (int k = 0; k <= {width}; ++k) rows[k] = numbers[k];
    const T *norm_ = rows + {width};
    const long long at = 0, counters[] = {{0}};
#pragma GCC ivdep
    for (ptrdiff_t i = start; i < stop; ++i) {{
        {elements}
        {body}
    }}
}}
extern "C" void gpunet_update(ptrdiff_t start, ptrdiff_t stop, const T *numbers, {pointers}) {{
    {flushing}
    updated(start, stop, numbers, {passed});
}}
extern "C" void gpunet_updates(ptrdiff_t first, ptrdiff_t last, const ptrdiff_t *ends,
                               const T *numbers, {pointers}) {{
    {flushing}
    for (ptrdiff_t k = first; k < last; ++k)
        updated(ends[2 * k], ends[2 * k + 1], numbers + k * {width + 1}, {passed});
}}
extern "C" void gpunet_noted(ptrdiff_t size, const T *table, const long long *counters,
                             const T *norm, {pointers}) {{
    T numbers[{width + 1}];
    const T *row = table + (counters[0] & {ROWS - 1}) * {width};
    for (int k = 0; k < {width}; ++k) numbers[k] = row[k];
    numbers[{width}] = norm ? norm[0] : 0;
    {flushing}
    updated(0, size, numbers, {passed});
}}
OP(noted);
"""


@cache
def processor() -> str:
    """What -march=native means here: machines of several kinds may share the folder on disk."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    of_interest = ("model name", "flags", "Features")
    return "; ".join(sorted({line for line in lines if line.startswith(of_interest)}))

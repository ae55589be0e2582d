"""The functions of `passes` compiled for the CPU, where there is g++: the same bits, by fewer
passes over memory and fewer calls.

As the optimizers' loops (`gpunet.optim.native`) they are compiled in the background, and take over
when they are there. Activations other than ReLU stay NumPy's, whose exp and tanh they need.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from operator import is_
from pathlib import Path
from typing import Any

import numpy as np

from gpunet import cxx, subnormals
from gpunet.backend import Array
from gpunet.fused import passes
from gpunet.fused.after import NO_DROP, After, Drops, words_of
from gpunet.layers import BatchNorm
from gpunet.optim.native import LEAST, NUMBERS, OFTEN, Later, Pointer, choice, processor
from gpunet.source import expand

HEADERS = [Path(__file__).with_name(name) for name in ("passes.h", "script.h")]
FLAGS = ("-O3", "-march=native")
WHOLE = (None, "relu")  # activations that have a loop, by number


_wanted: dict[Any, Later[ctypes.CDLL]] = {}  # by dtype


def library(dtype: Any) -> Later[ctypes.CDLL]:
    """The loops for float32 or float64, compiled once a process."""
    if dtype not in _wanted:
        _wanted.setdefault(dtype, Later(lambda: _compiled(np.dtype(dtype))))
    return _wanted[dtype]


def made(dtype: Any) -> ctypes.CDLL | None:
    """The loops, if somebody wanted them and they are there."""
    wanted = _wanted.get(np.dtype(dtype))
    return wanted.found if wanted and choice() != "numpy" else None


def _compiled(dtype: np.dtype[Any]) -> ctypes.CDLL:
    """CompileError without g++."""
    number = NUMBERS[dtype]
    text = f"""// for {processor()}
#include "device.h"
#include "slots.h"
#include "flushing.h"
#define WIDE_PRODUCT(high, low, a, b) \\
    const unsigned __int128 high##low = (unsigned __int128)a * b; \\
    const unsigned long long high = high##low >> 64, low = high##low
{expand(["philox.cuh", "counters.cuh"])}
typedef {number} T;
#define FLUSHES {int(subnormals.are_flushed(dtype))}
"""
    text += "".join(f'#line 1 "fused/{h.name}"\n{h.read_text("utf-8")}' for h in HEADERS)
    headers = [cxx.SLOTS, cxx.FLUSHING]
    return cxx.compile_shared(text, name=f"passes_{number}", flags=FLAGS, headers=headers)


class Choice:
    """Which passes a walk over arrays of up to `size` elements takes: NumPy's until the loops are
    there. GPUNET_CPU_KERNELS says otherwise, as for the optimizers.

    open: whether it may still change.
    """

    def __init__(self, size: int, dtype: Any) -> None:
        self.size, self.dtype, self.walks = size, np.dtype(dtype), 0
        self.open = choice() != "numpy"

    def look(self) -> Any:
        """The passes for the walk that comes."""
        self.walks += 1
        if not choice() and self.size < LEAST and self.walks <= OFTEN:
            return passes
        later = library(self.dtype)
        if choice():
            later.wait()
        self.open = later.is_running and later.found is None
        return passes if later.found is None else Passes(later.found, self.dtype)

    def settle(self) -> None:
        """Wait for the loops that a long training would come to have, if any: for benchmarks."""
        self.walks = OFTEN
        if self.open:
            library(self.dtype).wait()


class Passes:
    """What `passes` has. Pointers to a walk's own arrays are made once."""

    def __init__(self, library: ctypes.CDLL, dtype: np.dtype[Any]) -> None:
        self._library = library
        self._number = ctypes.c_float if dtype == np.float32 else ctypes.c_double
        self._known: dict[tuple[str, int], tuple[Any, Sequence[Any], Sequence[Any]]] = {}
        self._scale: dict[tuple[float, int], Any] = {}
        self._z: Array = None

    def _run(
        self, name: str, arrays: Sequence[Array], vectors: Sequence[Array], *numbers: Any
    ) -> None:
        """The loop over these arrays, of one shape, the first of which stays where it is; and over
        vectors, which may have moved.
        """
        key, given = (name, id(arrays[0])), (*arrays, *vectors)
        known = self._known.get(key)
        if known is None or not all(map(is_, known[1], given)):
            run = self._library[f"gpunet_{name}"]
            run.restype = None
            places = list(map(_argument, (*shape_of(arrays[0]), *arrays, *spread(vectors))))
            known = self._known[key] = run, given, places
        known[0](*known[2], *numbers)

    def biased(self, z: Array, b: Array, y: Array, after: After, work: Any) -> None:
        """As `passes.biased`, and so on."""
        if after.act in WHOLE:
            self._run("biased", (y, z), (b,), WHOLE.index(after.act))
            self._drop(y, after, work)
        else:
            passes.biased(z, b, y, after, work)

    def activated(self, y: Array, after: After, work: Any) -> None:
        passes.activated(y, after._replace(drop=NO_DROP), work)
        self._drop(y, after, work)

    def squares(self, z: Array, mean: Array, y: Array, work: Any) -> Array:
        out: Array = work.like(z)
        self._run("squares", (z, out), (mean,))
        return out

    def normalised(
        self, layer: BatchNorm, z: Array, mean: Array, inv: Array, y: Array, after: After, work: Any
    ) -> None:
        whole = after.act in WHOLE
        vectors = mean, inv, layer.gamma.data, layer.beta.data
        self._run("normalised", (z, y), vectors, WHOLE.index(after.act) if whole else 0)
        if whole:
            self._drop(y, after, work)
        else:
            self.activated(y, after, work)

    def activated_backward(self, g: Array, seen: Array, after: After, work: Any) -> None:
        if after.act == "relu":
            self._run("activated_backward", (g, seen), (), self._scales(after, g))
        elif after.act is None:
            self._drop(g, after, work)
        else:
            passes.activated_backward(g, seen, after, work)

    def products(
        self, g: Array, seen: Array, z: Array, mean: Array, after: After, work: Any
    ) -> Array:
        if after.act != "relu":
            self.activated_backward(g, seen, after, work)
            return passes.products(g, seen, z, mean, After(None, NO_DROP), work)
        out: Array = work.like(z)
        self._run("products", (g, seen, z, out), (mean,), self._scales(after, g))
        return out

    def combined(
        self, g: Array, z: Array, mean: Array, slope: Array, share: Array, factor: Array, work: Any
    ) -> None:
        self._run("combined", (g, z), (mean, slope, share, factor))

    def shifted(self, z: Array, b: Array | None, labels: Array, work: Any) -> Array:
        if z is not self._z:
            self._z, self._f = z, z.mT
            self._chosen = np.empty((*z.shape[:-2], z.shape[-2]), z.dtype)
        self._labels = np.ascontiguousarray(labels, np.int64)
        step = ctypes.c_ssize_t(z.shape[-2] if labels.ndim > 1 else 0)
        self._picked = _pointer(self._labels), step
        vectors = () if b is None else (b,)
        name = "shifted" if vectors else "shifted_alone"
        chosen = self._chosen
        self._run(name, (self._f,), vectors, *self._picked, _pointer(chosen))
        return chosen

    def pulled(self, z: Array, factor: Array, step: Array, labels: Array, work: Any) -> None:
        number = self._number(float(step))
        self._run("pulled", (self._f,), (), *self._picked, _pointer(factor), number)

    def _scales(self, after: After, y: Array) -> Any:
        """A pointer to what dropout multiplies with, of each model of y."""
        scale: Any = after.drop.scale
        if not isinstance(scale, float):
            return _pointer(scale)
        models = y.shape[0] if y.ndim > 2 else 1
        if (scale, models) not in self._scale:
            self._scale[scale, models] = _pointer(np.full(models, scale, y.dtype))
        return self._scale[scale, models]

    def _drop(self, y: Array, after: After, work: Any) -> None:
        """y times dropout's mask."""
        drop = after.drop
        if drop.threshold:
            words = words_of(drop.each if isinstance(drop, Drops) else (drop,))
            places = _pointer(words), self._scales(after, y), _pointer(work.counters)
            self._run("dropped", (y,), (), *places)


def shape_of(a: Array) -> tuple[int, ...]:
    """Models, rows, columns."""
    return (a.shape[0] if a.ndim > 2 else 1, *a.shape[-2:])


def spread(vectors: Sequence[Array]) -> list[Any]:
    """Each vector, that of the first model, and how far apart are those of two models."""
    found: list[Any] = []
    for a in vectors:
        several = a.ndim > 1
        found += [a[0] if several else a, a.strides[0] // a.itemsize if several else 0]
    return found


def _pointer(a: Array) -> Any:
    return Pointer.from_buffer(a)


def _argument(value: Any) -> Any:
    return _pointer(value) if isinstance(value, np.ndarray) else ctypes.c_ssize_t(value)

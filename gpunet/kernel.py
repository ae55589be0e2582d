"""One formula, two executors: kernels/NAME.cu on CuPy arrays, its NumPy reference on NumPy arrays.

A kernel is built once per CuPy module and kept: building one anew reloads its code and makes the
GPU wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.backend import Array, common_module
from gpunet.lock import RLock
from gpunet.source import Argument, Source, expand, read

Reference = Callable[..., Any]


@dataclass(frozen=True)
class CudaText:
    """The strings that CuPy's ElementwiseKernel, ReductionKernel or RawKernel is made from."""

    kind: str
    arguments: tuple[str, ...]
    name: str
    preamble: str

    def build(self, cupy: ModuleType) -> Any:
        if self.kind == "RawKernel":
            return cupy.RawKernel(self.preamble + self.arguments[0], self.name)
        return getattr(cupy, self.kind)(*self.arguments, name=self.name, preamble=self.preamble)


class Kernel:
    """kernels/NAME.cu beside its NumPy reference; called with arrays it picks by their type.

    A Path in NAME's place is a .cu file of your own. The reference takes the header's inputs and
    numbers by position and returns the output(s); a kernel that is only launched has none. One with
    a `scalars` line is an optimizer's: see `gpunet.optim.kernel`.
    """

    always_included: tuple[str, ...] = ()

    def __init__(self, name: str | Path, reference: Reference | None = None) -> None:
        self._name = name
        self.reference: Reference = reference or self._has_none
        self._built: dict[tuple[ModuleType, Any], Any] = {}
        self._lock = RLock()
        if isinstance(name, Path):  # a mistake in a file of one's own is told at once
            self._check()

    @cached_property
    def source(self) -> Source:
        """The file, read when it is first asked for: an import should not open forty."""
        return read(self._name)

    def _check(self) -> None:
        """ValueError or OSError for a file that is no such kernel."""
        self.source  # noqa: B018 - reads it

    def _has_none(self, *inputs: Any) -> Any:
        raise TypeError(f"{self!r} has no NumPy reference: it takes CuPy arrays")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source.label}>"

    def __call__(self, *inputs: Any) -> Any:
        arrays = [a for a in inputs if hasattr(a, "dtype") and hasattr(a, "shape")]
        xp = common_module(arrays, self.source.name)
        return self.reference(*inputs) if xp is np else self.built(xp)(*inputs)

    def launch(self, cupy: ModuleType, /, *, threads_in_all: int = 0, **arguments: Any) -> None:
        """Run it with all that the header names, outputs too, which are written.

        threads_in_all: how often, where the header says `raw` of all arrays.
        """
        size = {"size": threads_in_all} if threads_in_all else {}
        self.built(cupy)(*self._ordered(arguments), **size)

    @cached_property
    def _names(self) -> list[str]:
        return [p.name for p in self.source.signature]

    def _ordered(self, arguments: dict[str, Any]) -> list[Any]:
        """By the header. TypeError for a name that is missing or not there."""
        if len(arguments) != len(self._names) or not arguments.keys() >= set(self._names):
            raise TypeError(
                f"{self!r} takes {', '.join(self._names)}; got {', '.join(arguments) or 'nothing'}"
            )
        return [arguments[name] for name in self._names]

    def text(self, options: frozenset[str] = frozenset()) -> CudaText:
        """The CUDA text as CuPy gets it, for one choice of compile-time options."""
        source = self.source
        outputs = source.outputs_with(options)
        name = "gpunet_" + "_".join([*source.name.split("/"), *sorted(options)])
        defines = "".join(f"#define {o.upper()} {int(o in options)}\n" for o in source.options)
        preamble = defines + expand((*self.always_included, *source.includes))
        inputs = (*source.inputs, *source.numbers)
        arguments = (declare(inputs), declare(outputs), f"\n{source.body}\n")
        if source.reduction:
            parts = (source.reduction[k] for k in ("map", "reduce", "post", "identity"))
            return CudaText("ReductionKernel", (*arguments[:2], *parts), name, preamble)
        return CudaText("ElementwiseKernel", arguments, name, preamble)

    def built(self, cupy: ModuleType, options: frozenset[str] = frozenset()) -> Any:
        """The CuPy kernel, made on first use; CuPy compiles it per dtype and caches that on disk"""
        kernel = self._built.get((cupy, options))
        if kernel is None:
            with self._lock:
                kernel = self._built.get((cupy, options)) or self.text(options).build(cupy)
                self._built[cupy, options] = kernel
        return kernel


VECTOR = 16  # bytes that a thread moves in one instruction


def together(width: int, *arrays: Array) -> int:
    """How many neighbours a thread takes of these arrays on a GPU, which are cut into rows of
    `width`: as many as VECTOR bytes of the widest hold, or 1 where one is strided, or a row is not
    of whole vectors from a vector's place on.
    """
    n = VECTOR // max(a.itemsize for a in arrays)
    fits = width % n == 0 and all(
        a.flags.c_contiguous and a.data.ptr % (n * a.itemsize) == 0 for a in arrays
    )
    return n if fits else 1


C_NUMBERS = {
    "int32": "int", "int64": "long long", "uint32": "unsigned int",
    "uint64": "unsigned long long", "float32": "float", "float64": "double",
}  # fmt: skip


class BlockKernel(Kernel):
    """A kernel whose threads work together, kernels/NAME.cu with a header line `// threads: 32, 8`.

    The body is what one thread does; it sees the header's names, arrays as pointers (`const` for
    inputs, and null where None is given) and numbers by value, and T as the dtype that it was built
    for. Arrays are C-contiguous.

    ValueError for a file without the line `// threads`.
    """

    def _check(self) -> None:
        if not self.source.threads:
            file = self.source.label
            raise ValueError(f"{file}: a block kernel needs a header line like `// threads: 32, 8`")

    def __call__(self, *inputs: Any) -> Any:
        raise TypeError(f"{self!r} needs a grid: use launch(...)")

    def text(self, options: frozenset[str] = frozenset(), dtype: str = "float32") -> CudaText:
        """The CUDA text for T = `dtype`; there are no options."""
        source = self.source
        name = "gpunet_" + source.name.replace("/", "_")
        declared = [_declare_c(p, "const ") for p in (*source.inputs, *source.numbers)]
        declared += [_declare_c(p) for p in source.outputs]
        lines = [
            f"typedef {C_NUMBERS[dtype]} T;",
            f'#line 1 "{source.name}: signature"',
            f'extern "C" __global__ void __launch_bounds__({math.prod(source.threads)}, 1)',
            f"{name}({', '.join(declared)}) {{",
            source.body,
            f'#line 1 "{source.name}: end"',
            "}",
        ]
        return CudaText("RawKernel", ("\n".join(lines),), name, expand(source.includes))

    def launch(  # type: ignore[override]
        self, cupy: ModuleType, dtype: Any, grid: tuple[int, ...], /, **arguments: Any
    ) -> None:
        """Run it over `grid` blocks.

        dtype: T. arguments: all that the header names: arrays of `cupy` or None, and numbers, which
        become what the header says. TypeError for a name that is missing or not there; nothing else
        is checked.
        """
        function, kinds = self._built.get((cupy, dtype)) or self._build(cupy, np.dtype(dtype))
        pairs = zip(kinds, self._ordered(arguments), strict=True)
        function(grid, self.source.threads, tuple([kind(a) for kind, a in pairs]))

    def _build(self, cupy: ModuleType, dtype: np.dtype[Any]) -> tuple[Any, tuple[Any, ...]]:
        """The kernel, and what converts each argument."""
        self._check()
        with self._lock:
            if (cupy, dtype) not in self._built:
                kinds = tuple(
                    _or_null if p.pointer else dtype.type if p.type == "T" else _type(p.type)
                    for p in self.source.signature
                )
                function = self.text(dtype=dtype.name).build(cupy)
                self._built[cupy, dtype] = function, kinds
            found: tuple[Any, tuple[Any, ...]] = self._built[cupy, dtype]
            return found


def _or_null(a: Array | None) -> Any:
    """An array, or the null pointer as a number: not every CuPy takes None for one."""
    return np.intp(0) if a is None else a


def _type(name: str) -> Any:
    return np.dtype(name).type


def _declare_c(p: Argument, const: str = "") -> str:
    """`T* x` as a pointer, `int64 n` as a number; const: of what a pointer points to."""
    return f"{const if p.pointer else ''}{C_NUMBERS.get(p.type, p.type)}{'*' * p.pointer} {p.name}"


def declare(arguments: Sequence[Argument], suffix: str = "") -> str:
    """As CuPy wants them: `T x, raw T table`."""
    return ", ".join(a.declare(suffix) for a in arguments)

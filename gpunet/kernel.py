"""One formula, two executors: kernels/NAME.cu on CuPy arrays, its NumPy reference on NumPy arrays.

A kernel is built once per CuPy module and kept: building one anew reloads its code and makes the
GPU wait.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import native
from gpunet.backend import Array, common_module
from gpunet.lock import RLock
from gpunet.source import Parameter, Source, expand, read

Reference = Callable[..., Any]
TABLE_ROWS = 256  # of scalars on the device, see optim.table: a power of two
BLOCK = 32768  # elements: gradient, parameter, two states and a temporary stay in a core's L2
CLIP_SCALARS = ("clip_norm", "clip_value")  # the first two entries of every scalar row
NO_LIMITS = (math.inf, math.inf)


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
    a `scalars` line is an optimizer's: see `UpdateKernel`.
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

    def launch(self, cupy: ModuleType, /, **arguments: Any) -> None:
        """Run it with all that the header names, outputs too, which are written."""
        self.built(cupy)(*self._ordered(arguments))

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
        arguments = (_declare(inputs), _declare(outputs), f"\n{source.body}\n")
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


class UpdateKernel(Kernel):
    """An optimizer's fused update, kernels/optim/NAME.cu, run in place over 1-D buffers.

    The header's `in` is the gradient, `out` is `param` and the state, `scalars` is a row of numbers
    in the parameters' dtype. Every row starts with the two clipping limits (kernels/optim/
    prelude.cuh). Each state is read once into a local and written once.

    The reference takes the header's names, in order, and updates param and state in place; states
    that an option leaves out are None. It may be passed over for a third executor: gpunet.native.
    """

    always_included = ("optim/prelude.cuh",)

    @property
    def slots(self) -> tuple[Parameter, ...]:
        """The state arrays: every output but `param`."""
        return self.source.outputs[1:]

    def text(self, options: frozenset[str] = frozenset()) -> CudaText:
        plain = super().text(options)
        source, outputs = self.source, self.source.outputs_with(options)
        width = len(CLIP_SCALARS)
        count = width + len(source.scalars)
        lines = ["", f"const ptrdiff_t row = (clock[0] & {TABLE_ROWS - 1}) * {count};"]
        lines += ["T grad = clipped(grad_, norm_[0], rows[row], rows[row + 1]);"]
        lines += [f"const T {s} = rows[row + {k}];" for k, s in enumerate(source.scalars, width)]
        lines += [f"T {p.name} = {p.name}_;" for p in outputs]
        lines += [source.body, f'#line 1 "{source.name}: stores"']
        lines += [f"{p.name}_ = {p.name};" for p in outputs]
        ins = "T grad_, raw T rows, raw int64 clock, raw T norm_"
        outs = _declare(outputs, suffix="_")
        return CudaText(plain.kind, (ins, outs, "\n".join(lines)), plain.name, plain.preamble)

    def update(
        self,
        xp: ModuleType,
        grad: Array,
        row: Any,
        norm: Array,
        state: dict[str, Array],
        cut: Sequence[Block] | None = None,
    ) -> None:
        """One step: `state` holds param and the state arrays by name, all shaped like `grad`.

        row: the scalars as a device array (one row, or in a captured step all rows, of which the
        clock tells one), or on the CPU a tuple of NumPy scalars. norm: array
        (1,), the global norm of the gradients; without clipping by it, anything. cut: `grad` and
        `state` as `blocks` cuts them, for NumPy, if the caller keeps that.
        """
        if xp is np:
            if not (native.wanted() and self._update_natively(grad, row, norm, state)):
                with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # as on a GPU
                    self._update_blocks(cut or blocks(grad, state), row, norm)
            return
        from gpunet import clock

        options, ordered = self._present(state)
        self.built(xp, options)(grad, row, clock.array(xp), norm, *ordered)

    def _present(self, state: dict[str, Array]) -> tuple[frozenset[str], list[Array]]:
        """The options that the state arrays stand for, and the outputs in the header's order."""
        options = frozenset(p.option for p in self.slots if p.option and p.name in state)
        return options, [state[p.name] for p in self.source.outputs_with(options)]

    def _update_natively(self, grad: Array, row: Any, norm: Array, state: dict[str, Array]) -> bool:
        """Run the CUDA text compiled for the CPU; False for arrays that it does not take."""
        options, ordered = self._present(state)
        arrays = [grad, *ordered]
        if not native.suits(arrays):
            return False
        key = (np, (grad.dtype, options))
        if key not in self._built:
            self._built[key] = native.Loop(self.text(options), grad.dtype, len(row))
        self._built[key](row, norm, arrays)
        return True

    def _update_blocks(self, parts: Sequence[Block], row: Sequence[Any], norm: Array) -> None:
        width = len(CLIP_SCALARS)
        limits, scalars = row[:width], row[width:]
        clips = limits != NO_LIMITS
        for grad, state in parts:
            g = clipped(grad, norm, *limits) if clips else grad
            self.reference(g, *scalars, **state)


Block = tuple[Array, dict[str, Array]]


def blocks(grad: Array, state: dict[str, Array]) -> list[Block]:
    """Gradient and state of an update cut to the size of a core's cache, as views."""
    if grad.ndim == 0:  # a reference works in place, and a NumPy number has no place
        return [(grad.reshape(1), {name: a.reshape(1) for name, a in state.items()})]
    if grad.ndim > 1:
        return [(grad, state)]
    cuts = [slice(start, start + BLOCK) for start in range(0, len(grad), BLOCK)]
    return [(grad[cut], {name: a[cut] for name, a in state.items()}) for cut in cuts]


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


def _declare_c(p: Parameter, const: str = "") -> str:
    """`T* x` as a pointer, `int64 n` as a number; const: of what a pointer points to."""
    return f"{const if p.pointer else ''}{C_NUMBERS.get(p.type, p.type)}{'*' * p.pointer} {p.name}"


def clipped(grad: Array, norm: Array, clip_norm: Any, clip_value: Any) -> Array:
    """The NumPy twin of kernels/optim/prelude.cuh: `grad` itself when both limits are infinite."""
    if np.isfinite(clip_norm):
        scale = clip_norm / (norm[0] + grad.dtype.type(1e-6))
        if scale < 1:
            grad = grad * scale
    return np.clip(grad, -clip_value, clip_value) if np.isfinite(clip_value) else grad


def reference_names(reference: Reference) -> tuple[str, ...]:
    """The parameter names of a NumPy reference; a test compares them with the header's."""
    return tuple(inspect.signature(reference).parameters)


def _declare(parameters: Sequence[Parameter], suffix: str = "") -> str:
    return ", ".join(p.declare(suffix) for p in parameters)

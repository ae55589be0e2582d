"""One formula, two executors: kernels/NAME.cu on CuPy arrays, its NumPy reference on NumPy arrays.

A kernel is built once per CuPy module and kept: building one anew reloads its code and makes the
GPU wait.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from fastrlock.rlock import FastRLock

from gpunet.backend import Array, common_module
from gpunet.source import Parameter, Source, expand, read

Reference = Callable[..., Any]
BLOCK = 32768  # elements: gradient, parameter, two states and a temporary stay in a core's L2
CLIP_SCALARS = ("clip_norm", "clip_value")  # the first two entries of every scalar row


@dataclass(frozen=True)
class CudaText:
    """The strings that CuPy's ElementwiseKernel or ReductionKernel is made from."""

    kind: str
    arguments: tuple[str, ...]
    name: str
    preamble: str

    def build(self, cupy: ModuleType) -> Any:
        return getattr(cupy, self.kind)(*self.arguments, name=self.name, preamble=self.preamble)


class Kernel:
    """kernels/NAME.cu beside its NumPy reference; called with arrays it picks by their type.

    A Path in NAME's place is a .cu file of your own. The reference takes the header's inputs by
    position and returns the output(s). One with a `scalars` line is an optimizer's: see
    `UpdateKernel`.
    """

    always_included: tuple[str, ...] = ()

    def __init__(self, name: str | Path, reference: Reference) -> None:
        self.source: Source = read(name)
        self.reference = reference
        self._built: dict[tuple[ModuleType, frozenset[str]], Any] = {}
        self._lock = FastRLock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source.label}>"

    def __call__(self, *inputs: Any) -> Any:
        arrays = [a for a in inputs if hasattr(a, "dtype") and hasattr(a, "shape")]
        xp = common_module(arrays, self.source.name)
        return self.reference(*inputs) if xp is np else self.built(xp)(*inputs)

    def text(self, options: frozenset[str] = frozenset()) -> CudaText:
        """The CUDA text as CuPy gets it, for one choice of compile-time options."""
        source = self.source
        outputs = source.outputs_with(options)
        name = "gpunet_" + "_".join([*source.name.split("/"), *sorted(options)])
        defines = "".join(f"#define {o.upper()} {int(o in options)}\n" for o in source.options)
        preamble = defines + expand((*self.always_included, *source.includes))
        arguments = (_declare(source.inputs), _declare(outputs), f"\n{source.body}\n")
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
    that an option leaves out are None.
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
        lines = ["", "T grad = clipped(grad_, norm_[0], row[0], row[1]);"]
        lines += [f"const T {s} = row[{k}];" for k, s in enumerate(source.scalars, width)]
        lines += [f"T {p.name} = {p.name}_;" for p in outputs]
        lines += [source.body, f'#line 1 "{source.name}: stores"']
        lines += [f"{p.name}_ = {p.name};" for p in outputs]
        ins = "T grad_, raw T row, raw T norm_"
        outs = _declare(outputs, suffix="_")
        return CudaText(plain.kind, (ins, outs, "\n".join(lines)), plain.name, plain.preamble)

    def update(
        self, xp: ModuleType, grad: Array, row: Any, norm: Array, state: dict[str, Array]
    ) -> None:
        """One step: `state` holds param and the state arrays by name, all shaped like `grad`.

        row: the scalars as a device array, or on the CPU a tuple of NumPy scalars. norm: array
        (1,), the global norm of the gradients; without clipping by it, anything.
        """
        if xp is np:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # as on a GPU
                self._update_blocks(grad, row, norm, state)
            return
        options = frozenset(p.option for p in self.slots if p.option and p.name in state)
        ordered = [state[p.name] for p in self.source.outputs_with(options)]
        self.built(xp, options)(grad, row, norm, *ordered)

    def _update_blocks(
        self, grad: Array, row: Sequence[Any], norm: Array, state: dict[str, Array]
    ) -> None:
        width = len(CLIP_SCALARS)
        limits, scalars = row[:width], row[width:]
        for start in range(0, len(grad), BLOCK) if grad.ndim == 1 else (...,):
            part = ... if start is ... else slice(start, start + BLOCK)
            g = clipped(grad[part], norm, *limits)
            self.reference(g, *scalars, **{name: a[part] for name, a in state.items()})


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

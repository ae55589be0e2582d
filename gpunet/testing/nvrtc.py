"""The exact text that CuPy hands to NVRTC for a kernel, and what NVRTC makes of it; needs no GPU.

CuPy's own functions write the text; only their last call, into the compiler, is caught. They are
private and may change with CuPy: whatever they refuse here is an error, never a pass.

Use it in a process where `cupy` is the real one (the compile gate starts one), with arrays as in
training: contiguous, fewer than 2^31 bytes.
"""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpunet.kernel import CudaText
from gpunet.testing import assembly

ARRAY, INDEXER, NUMBER, POINTER = 1, 2, 3, 4  # CuPy's _ArgKind
REDUCTION_BLOCK = 512  # threads, CuPy's choice for many elements
CUB_ITEMS = 4  # elements that a thread of CuPy's CUB reduction takes at once
# What CuPy adds past the point where its text is caught; a test finds them in CuPy's own source.
ALWAYS = ("-ftz=true", "--device-as-default-execution-space")


@dataclass(frozen=True)
class Program:
    """One text for NVRTC: `part` tells apart the texts of a kernel that needs several."""

    part: str
    text: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What a program became on one architecture, or why it did not compile.

    registers a thread, bytes of static shared memory a block, bytes stored and loaded by spills,
    bytes of a thread's own memory (`frame`); of the PTX the first instruction that computes in
    float64 (`doubles`) and the first that loads 32 bits of an array (`narrow`); and of the machine
    code for assembly.ARCHITECTURE, where nvdisasm is there, what assembly.Sass says.
    """

    registers: int = 0
    shared: int = 0
    spills: int = 0
    frame: int = 0
    doubles: str = ""
    narrow: str = ""
    instructions: int = 0
    loads: dict[str, int] = field(default_factory=dict)
    stores: dict[str, int] = field(default_factory=dict)
    multiply_adds: int = 0
    among: int = 0
    error: str = ""


class _Caught(Exception):
    """Carries the text and options away from CuPy's last call."""


def missing() -> str | None:
    """What keeps kernels from being compiled here, or None."""
    try:
        _cupy("cupy._core.core").assemble_cupy_compiler_options(())
        _cupy("cupy_backends.cuda.libs.nvrtc").getVersion()
    except Exception as error:  # a broken CuPy raises far more than ImportError
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return f"CuPy with NVRTC and the CUDA headers is needed: {type(error).__name__}: {first}"
    return None


def versions() -> str:
    """CuPy's, NVRTC's and nvdisasm's: with a text and its options they decide what is measured."""
    nvrtc = _cupy("cupy_backends.cuda.libs.nvrtc").getVersion()
    names = {"CuPy": _cupy("cupy").__version__, "NVRTC": f"{nvrtc[0]}.{nvrtc[1]}"}
    names |= {"nvdisasm": assembly.version() or "missing"}
    return ", ".join(f"{name} {version}" for name, version in names.items())


def programs(text: CudaText, dtype: str, numbers: frozenset[str]) -> list[Program]:
    """The texts that CuPy makes for contiguous arrays of `dtype`.

    numbers: the names of the inputs that are numbers, not arrays (a block kernel's text says so).
    """
    return _KINDS[text.kind](text.build(_cupy("cupy")), np.dtype(dtype).type, numbers)


def compile_program(program: Program, arch: str) -> Measured:
    """Compile to machine code for `arch` ("90") with CuPy's options, and read what came out.

    RuntimeError where CuPy is on the simulated GPU, whose NVRTC is g++.
    """
    simgpu = sys.modules.get("gpunet.testing.simgpu")  # imported, it would stand before CuPy
    if simgpu is not None and simgpu.active():
        raise RuntimeError("NVRTC is the simulated GPU's here: compile in a process of its own")
    compiler = _cupy("cupy.cuda.compiler")
    options = (*program.options, *ALWAYS, f"-arch=sm_{arch}", "--ptxas-options=-v")
    made = compiler._NVRTCProgram(program.text, "kern.cu", method="cubin")
    log = io.StringIO()
    try:
        made.compile(options, log)
    except compiler.CompileException as error:
        return Measured(error=readable(str(error)))
    nvrtc = _cupy("cupy_backends.cuda.libs.nvrtc")
    found = measured(log.getvalue(), nvrtc.getPTX(made.ptr).decode())
    if arch != assembly.ARCHITECTURE or assembly.nvdisasm() is None:
        return found
    sass = assembly.read_sass(assembly.disassemble(nvrtc.getCUBIN(made.ptr)))
    return replace(found, **vars(sass))


def readable(message: str) -> str:
    """NVRTC's message with its places as FILE:LINE, which editors and terminals follow."""
    return re.sub(r"^(\S+)\((\d+)\): ", r"\1:\2: ", message.rstrip("\0\n "), flags=re.MULTILINE)


def measured(log: str, ptx: str) -> Measured:
    """Read ptxas's report and the PTX. ValueError where the report is not as expected."""
    used = re.search(r"Used (\d+) registers", log)
    stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill", log)
    if used is None or stack is None:
        raise ValueError(f"ptxas reports no registers or no stack frame:\n{log}")
    shared = re.search(r"(\d+) bytes smem", log)
    return Measured(
        registers=int(used[1]),
        shared=int(shared[1]) if shared else 0,
        spills=int(stack[2]) + int(stack[3]),
        frame=int(stack[1]),
        doubles=assembly.doubles(ptx),
        narrow=assembly.narrow_load(ptx),
    )


def _cupy(name: str) -> Any:
    """A module of CuPy: each is loaded when it is first asked for."""
    return importlib.import_module(name)


# What CuPy's kernels do when they are called, up to the compiler.


def _elementwise(kernel: Any, dtype: Any, numbers: frozenset[str]) -> list[Program]:
    core = _cupy("cupy._core._kernel")
    given = tuple(None if p.name in numbers else p.dtype or dtype for p in kernel.in_params)
    made = tuple(p.dtype or dtype for p in kernel.out_params)
    ins, outs, types = core._decide_params_type(kernel.in_params, kernel.out_params, given, made)
    arguments = [
        _number(t) if p.name in numbers else _array(t)
        for p, t in zip(kernel.params, ins + outs, strict=False)
    ]
    text = _caught(
        core._get_elementwise_kernel,
        (*arguments, _indexer(1)),
        types,
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
        **kernel.kwargs,
    )
    return [Program("", *text)]


def _reduction(kernel: Any, dtype: Any, numbers: frozenset[str]) -> list[Program]:
    """CuPy's plain reduction (few elements, or strided), and its two passes of CUB (the others)."""
    core = _cupy("cupy._core._kernel")
    (source,), (target,) = core._decide_params_type(
        kernel.in_params, kernel.out_params, (dtype,), ()
    )[:2]
    types = (("T", dtype), ("IndexT", "int32"))
    indices = _parameters("CIndexer _in_ind, CIndexer _out_ind")
    own = indices + _parameters("int32 _block_stride", True)
    plain = _caught(
        _cupy("cupy._core._reduction")._ReductionKernel_get_cached_function,
        1,
        1,
        kernel.in_params + kernel.out_params + own,
        (_array(source), _array(target, 0), _indexer(1), _indexer(0), _number(np.int32)),
        core._TypeMap(types),
        kernel.name,
        REDUCTION_BLOCK,
        kernel.reduce_type,
        kernel.identity,
        kernel.map_expr,
        kernel.reduce_expr,
        kernel.post_map_expr,
        kernel.preamble,
        kernel.options,
    )
    raw = (*types, ("sizeT", "int32"), ("type_in0_raw", source), ("type_out0_raw", target))
    mapped = kernel.map_expr.replace(kernel.in_params[0].name, "in0")  # as CuPy itself does it
    pointer = _argument(POINTER, _cupy("cupy.cuda.memory").MemoryPointer)
    return [
        Program("", *plain),
        _cub_pass(kernel, "FIRST", mapped, (_array(source), pointer), core._TypeMap(raw)),
        _cub_pass(kernel, "SECOND", "in0", (pointer, _array(target, 0)), core._TypeMap(raw)),
    ]


def _cub_pass(
    kernel: Any, which: str, mapped: str, arguments: tuple[Any, Any], types: Any
) -> Program:
    """FIRST: a result for each block of threads; SECOND: one result from those."""
    sizes = _parameters("int32 _segment_size, int32 _array_size", True)
    made = _caught(
        _cupy("cupy._core._cub_reduction")._SimpleCubReductionKernel_get_cached_function,
        mapped,
        kernel.reduce_expr,
        kernel.post_map_expr.replace(kernel.out_params[0].name, "out0"),
        kernel.reduce_type,
        _parameters("T in0", True) + _parameters("T out0") + sizes,
        (*arguments, _number(np.int32), _number(np.int32)),
        types,
        f"{kernel.name}_pass{1 if which == 'FIRST' else 2}",
        REDUCTION_BLOCK,
        kernel.identity,
        kernel.preamble,
        (f"-D{which}_PASS=1",),
        CUB_ITEMS,
    )
    return Program(f"CUB {which.lower()} pass", *made)


def _raw(kernel: Any, dtype: Any, numbers: frozenset[str]) -> list[Program]:
    """A block kernel's text is made for one dtype; CuPy adds options only."""
    function = _cupy("cupy._core.raw")._get_raw_module
    settings = (kernel.backend, False, False, False, None, None)
    return [Program("", *_caught(function, kernel.code, None, kernel.options, *settings))]


_KINDS: dict[str, Callable[[Any, Any, frozenset[str]], list[Program]]] = {
    "ElementwiseKernel": _elementwise,
    "ReductionKernel": _reduction,
    "RawKernel": _raw,
}


def _parameters(text: str, const: bool = False) -> Any:
    return _cupy("cupy._core._kernel")._get_param_info(text, const)


def _argument(kind: int, type_: Any, dtype: Any = None, ndim: int = 0) -> Any:
    """What CuPy keeps of an argument: contiguous, and small enough for 32-bit indices."""
    dtype = None if dtype is None else np.dtype(dtype)
    return _cupy("cupy._core._kernel")._ArgInfo(kind, type_, dtype, ndim, True, True)


def _array(dtype: Any, ndim: int = 1) -> Any:
    return _argument(ARRAY, _cupy("cupy").ndarray, dtype, ndim)


def _number(dtype: Any) -> Any:
    return _argument(NUMBER, _cupy("cupy._core._scalar").CScalar, dtype)


def _indexer(ndim: int) -> Any:
    return _argument(INDEXER, _cupy("cupy._core._carray").Indexer, None, ndim)


def _caught(function: Any, *arguments: Any, **named: Any) -> tuple[str, tuple[str, ...]]:
    """Call CuPy's kernel maker and return the (text, options) that it would have compiled."""
    with _catching():
        try:
            function.__wrapped__(*arguments, **named)  # not the memory per device: there is none
        except _Caught as caught:
            text, options = caught.args
            return text, tuple(options)
    raise RuntimeError(f"{versions()}: {function} compiles in another way than is known here")


@contextmanager
def _catching() -> Iterator[None]:
    compiler = _cupy("cupy.cuda.compiler")
    before = compiler._compile_module_with_cache

    def catch(text: str, options: tuple[str, ...] = (), **_: Any) -> None:
        raise _Caught(text, options)

    compiler._compile_module_with_cache = catch
    try:
        yield
    finally:
        compiler._compile_module_with_cache = before

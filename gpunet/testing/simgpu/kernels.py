"""ElementwiseKernel and ReductionKernel: the same CUDA text as on a GPU, compiled by g++.

The rules (types, broadcasting, what is refused and in which words) are those of CuPy 14.2; the
text around the user's own is CuPy's, except for the loop, which runs the threads one by one.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .array import ndarray, wrap_view
from .compiler import compile_shared, host_options
from .launching import launch
from .parameters import (
    Argument,
    Parameter,
    Scalar,
    Slot,
    TypeMap,
    argument,
    broadcast,
    c_type,
    check_kernel_name,
    decide_types,
    flattened,
    outputs,
    packed,
    packed_indexer,
    parse,
    slot_of,
)

Compiled = Callable[[bytes], None]
DEFAULT_BLOCK = 128
REDUCTION_BLOCK = 512


class ElementwiseKernel:
    """A kernel run once for every element; see `cupy.ElementwiseKernel`."""

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
        loop_prep: str = "",
        after_loop: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        check_kernel_name(name)
        self.in_params, self.out_params = parse(in_params, True), parse(out_params, False)
        self.params = self.in_params + self.out_params
        self.nin, self.nout, self.nargs = (
            len(self.in_params), len(self.out_params), len(self.params)
        )  # fmt: skip
        self.operation = operation
        self.name = self.__name__ = name
        self.reduce_dims = reduce_dims
        self.preamble = preamble
        self.no_return = no_return
        self.return_tuple = return_tuple
        self._loop_prep = loop_prep
        self._after_loop = after_loop
        self._flags = host_options(options)
        self._compiled: dict[tuple[Any, ...], Compiled] = {}
        if "i" in [parameter.name for parameter in self.params]:
            raise ValueError("Can not use 'i' as a parameter name")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the kernel; returns the outputs, given or new.

        Args:
            args: inputs, or inputs and outputs.
            size: the number of elements, where every array is `raw`.
            block_size: accepted; it changes nothing here.
            stream: where to launch; by default the current stream.

        Raises:
            TypeError: wrong number of arguments, or one of a wrong type or dtype.
            ValueError: shapes that do not fit, or a loop size that nothing decides.
            CompileException: the text does not compile.
        """
        size = kwargs.pop("size", -1)
        stream = kwargs.pop("stream", None)
        if kwargs.pop("block_size", DEFAULT_BLOCK) <= 0:
            raise ValueError("block_size must be greater than zero")
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
        arguments = [argument(arg) for arg in args]
        given = arguments[self.nin :]
        arguments, shape = broadcast(arguments, self.params, size != -1)
        in_args = arguments[: self.nin]
        in_types, out_types, type_map = decide_types(
            self.in_params,
            self.out_params,
            [arg.dtype if isinstance(arg, ndarray) else None for arg in in_args],
            [arg.dtype for arg in given],
        )
        shape = shape if size == -1 else (size,)
        out_args = outputs(given, self.out_params, out_types, shape, size != -1)
        if 0 not in shape:
            self._launch([*in_args, *out_args], [*in_types, *out_types], type_map, shape, stream)
        if self.no_return:
            return None
        return out_args[0] if self.nout == 1 and not self.return_tuple else tuple(out_args)

    def _launch(
        self,
        arguments: list[Argument],
        dtypes: list[np.dtype],
        type_map: TypeMap,
        shape: tuple[int, ...],
        stream: Any,
    ) -> None:
        if self.reduce_dims:
            arguments, shape = flattened(arguments, self.params, shape)
        slots = tuple(slot_of(arg, dtype) for arg, dtype in zip(arguments, dtypes, strict=True))
        key = slots, type_map, len(shape)
        run = self._compiled.get(key)
        if run is None:
            source = self._source(slots, type_map, len(shape))
            run = self._compiled[key] = _compile(source, self.name, self._flags)
        block = [packed(arg, dtype) for arg, dtype in zip(arguments, dtypes, strict=True)]
        _launch_packed(self.name, run, b"".join([*block, packed_indexer(shape)]), arguments, stream)

    def _source(self, slots: Sequence[Slot], type_map: TypeMap, ndim: int) -> str:
        loads, offset = _argument_declarations(self.params, slots)
        elements = [
            f"{'const ' * p.is_const}{p.ctype} &{p.name} = _raw_{p.name}[_ind.get()];"
            for p, slot in zip(self.params, slots, strict=True)
            if slot.is_array and not p.raw
        ]
        name = self.name
        return f"""\
#include "elementwise.h"
{_typedefs(type_map)}
{_located(f"{name}: preamble", self.preamble)}
static inline void _simgpu_thread(const char *_arguments, ptrdiff_t _thread) {{
{loads}
CIndexer<{ndim}, 1> _ind = *reinterpret_cast<const CIndexer<{ndim}, 1> *>(_arguments + {offset});
{_located(f"{name}: loop_prep", self._loop_prep, ";")}
for (ptrdiff_t i = _thread; i == _thread; ++i) {{
_ind.set(i);
{chr(10).join(elements)}
{_located(f"{name}: operation", self.operation, ";")}
}}
{_located(f"{name}: after_loop", self._after_loop, ";")}
}}
extern "C" void _simgpu_run(const char *_arguments) {{
const ptrdiff_t _size = *reinterpret_cast<const ptrdiff_t *>(_arguments + {offset});
{self._thread_numbers("gridDim.x = (unsigned int)((_size + 127) / 128);")}
for (ptrdiff_t _thread = 0; _thread < _size; ++_thread) {{
{self._thread_numbers("blockIdx.x = (unsigned int)(_thread / 128);")}
{self._thread_numbers("threadIdx.x = (unsigned int)(_thread % 128);")}
_simgpu_thread(_arguments, _thread);
}}
}}
"""

    def _thread_numbers(self, statement: str) -> str:
        """The statement, where the text asks which thread it is; else it would cost speed."""
        text = self.preamble + self.operation + self._loop_prep + self._after_loop
        return statement if "Idx" in text or "gridDim" in text else ""


class ReductionKernel:
    """A kernel that reduces over axes; see `cupy.ReductionKernel`.

    Each output is reduced as CuPy's block does it: by many threads that each start from the
    identity and whose results are combined in a tree. So a wrong identity shows.
    """

    def __init__(
        self,
        in_params: str,
        out_params: str,
        map_expr: str,
        reduce_expr: str,
        post_map_expr: str,
        identity: Any,
        name: str = "reduce_kernel",
        reduce_type: str | None = None,
        reduce_dims: bool = True,
        preamble: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        check_kernel_name(name)
        self.in_params, self.out_params = parse(in_params, True), parse(out_params, False)
        self.nin, self.nout = len(self.in_params), len(self.out_params)
        self.nargs = self.nin + self.nout
        self.map_expr, self.reduce_expr = map_expr, reduce_expr
        self.post_map_expr = post_map_expr
        self.identity = "" if identity is None else str(identity)
        self.name = self.__name__ = name
        self.reduce_type = self.out_params[0].ctype if reduce_type is None else reduce_type
        self.reduce_dims = reduce_dims
        self.preamble = preamble
        self._flags = host_options(options)
        self._compiled: dict[tuple[Any, ...], Compiled] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the reduction; returns the output.

        Args:
            args: inputs, or inputs and outputs.
            out: the output, where it is not among `args`.
            axis: int or tuple of ints; all axes by default.
            keepdims: keep the reduced axes with length one.
            stream: where to launch; by default the current stream.
        """
        out = kwargs.pop("out", None)
        axis = kwargs.pop("axis", None)
        keepdims = kwargs.pop("keepdims", False)
        stream = kwargs.pop("stream", None)
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(f"Wrong number of arguments for {self.name}")
        out_args = [argument(arg) for arg in args[self.nin :]]
        if out is not None:
            if self.nout != 1:
                raise NotImplementedError("")
            if out_args:
                raise ValueError("cannot specify 'out' as both a positional and keyword argument")
            out_args = [argument(out)]
        in_args, shape = broadcast([argument(a) for a in args[: self.nin]], self.in_params, False)
        return self._reduce(in_args, out_args, shape, axis, keepdims, stream)

    def _reduce(
        self,
        in_args: list[Argument],
        given: list[Argument],
        shape: tuple[int, ...],
        axis: Any,
        keepdims: bool,
        stream: Any,
    ) -> ndarray:
        in_types, out_types, type_map = decide_types(
            self.in_params,
            self.out_params,
            [arg.dtype if isinstance(arg, ndarray) else None for arg in in_args],
            [arg.dtype if isinstance(arg, ndarray) else None for arg in given],
        )
        reduced, kept = _split_axes(axis, len(shape))
        out_shape = tuple(
            1 if number in reduced else size
            for number, size in enumerate(shape)
            if keepdims or number in kept
        )
        out_args = outputs(given, self.out_params, out_types, out_shape, False)
        result = out_args[0]
        if result.size == 0:
            return result
        if self.identity == "" and 0 in shape:
            raise ValueError(
                f"zero-size array to reduction operation {self.name} which has no identity"
            )
        dtypes, order = [*in_types, *out_types], (*reduced, *kept)
        self._launch(in_args, out_args, dtypes, type_map, order, stream)
        return result

    def _launch(
        self,
        in_args: list[Argument],
        out_args: list[ndarray],
        dtypes: list[np.dtype],
        type_map: TypeMap,
        order: tuple[int, ...],
        stream: Any,
    ) -> None:
        inputs = _transposed(in_args, self.in_params, order)
        looped = [
            arg for arg, p in zip(inputs, self.in_params, strict=True)
            if isinstance(arg, ndarray) and not p.raw
        ]  # fmt: skip
        in_shape, out_shape = looped[0].shape, out_args[0].shape
        lanes = _lanes(looped, out_args[0].size)
        outs: list[Argument] = list(out_args)
        if self.reduce_dims:
            inputs, in_shape = flattened(inputs, self.in_params, in_shape)
            outs, out_shape = flattened(outs, self.out_params, out_shape)
        arguments = [*inputs, *outs]
        slots = tuple(slot_of(arg, dtype) for arg, dtype in zip(arguments, dtypes, strict=True))
        key = slots, type_map, len(in_shape), len(out_shape)
        run = self._compiled.get(key)
        if run is None:
            source = self._source(slots, type_map, len(in_shape), len(out_shape))
            run = self._compiled[key] = _compile(source, self.name, self._flags)
        block = [packed(arg, dtype) for arg, dtype in zip(arguments, dtypes, strict=True)]
        block += [packed_indexer(in_shape), packed_indexer(out_shape)]
        block.append(lanes.to_bytes(8, "little"))
        _launch_packed(self.name, run, b"".join(block), arguments, stream)

    def _source(self, slots: Sequence[Slot], type_map: TypeMap, in_ndim: int, out_ndim: int) -> str:
        parameters = self.in_params + self.out_params
        loads, offset = _argument_declarations(parameters, slots)
        out_offset = offset + 8 + 16 * in_ndim
        reads = [
            f"{'const ' if p.is_const else ''}{p.ctype} {'' if p.is_const else '&'}{p.name}"
            f" = _raw_{p.name}[_in_ind.get()];"
            for p, slot in zip(self.in_params, slots, strict=False)
            if slot.is_array and not p.raw
        ]
        writes = [
            f"{p.ctype} &{p.name} = _raw_{p.name}[_out_ind.get()];"
            for p, slot in zip(self.out_params, slots[self.nin :], strict=True)
            if slot.is_array and not p.raw
        ]
        name = self.name
        mapped = f"_type_reduce _a = static_cast<_type_reduce>({self.map_expr}\n"
        indexer = "CIndexer<{0}, 1> {1} = *reinterpret_cast<const CIndexer<{0}, 1> *>({2});"
        return f"""\
#include "elementwise.h"
{_typedefs(type_map)}
typedef int IndexT;
{_located(f"{name}: preamble", self.preamble)}
{_located(f"{name}: reduce_expr", f"#define REDUCE(a, b) ({self.reduce_expr})")}
{_located(f"{name}: post_map_expr", f"#define POST_MAP(a) ({self.post_map_expr})")}
typedef {self.reduce_type} _type_reduce;
extern "C" void _simgpu_run(const char *_arguments) {{
{loads}
{indexer.format(in_ndim, "_in_ind", f"_arguments + {offset}")}
{indexer.format(out_ndim, "_out_ind", f"_arguments + {out_offset}")}
const ptrdiff_t _lanes = *reinterpret_cast<const ptrdiff_t *>(_arguments
    + {out_offset + 8 + 16 * out_ndim});
alignas(_type_reduce) static char _memory[{REDUCTION_BLOCK} * sizeof(_type_reduce)];
_type_reduce *_sdata = reinterpret_cast<_type_reduce *>(_memory);
for (ptrdiff_t _i = 0; _i < _out_ind.size(); ++_i) {{
for (ptrdiff_t _lane = 0; _lane < _lanes; ++_lane) {{
_type_reduce _s = _type_reduce({self.identity});
IndexT _J = (IndexT)_lane;
for (ptrdiff_t _j = _i + _lane * _out_ind.size(); _j < _in_ind.size();
     _j += _lanes * _out_ind.size(), _J += (IndexT)_lanes) {{
_in_ind.set(_j);
{chr(10).join(reads)}
{_located(f"{name}: map_expr", mapped, ");")}
_s = REDUCE(_s, _a);
}}
_sdata[_lane] = _s;
}}
for (ptrdiff_t _half = _lanes / 2; _half > 0; _half /= 2)
for (ptrdiff_t _lane = 0; _lane < _half; ++_lane) {{
_type_reduce _a = _sdata[_lane], _b = _sdata[_lane + _half];
_sdata[_lane] = REDUCE(_a, _b);
}}
_type_reduce _s = _sdata[0];
_out_ind.set(_i);
{chr(10).join(writes)}
POST_MAP(_s);
}}
}}
"""


# ---------------------------------------------------------------------------------------------
# Text


def _typedefs(type_map: TypeMap) -> str:
    return "\n".join(f"typedef {c_type(dtype)} {name};" for name, dtype in type_map)


def _located(where: str, text: str, end: str = "") -> str:
    """The text on lines of its own, which the compiler's messages call `where`."""
    return f'#line 1 "{where}"\n{text}{end}\n#line 1 "simgpu"' if text else ""


def _argument_declarations(
    parameters: Sequence[Parameter], slots: Sequence[Slot]
) -> tuple[str, int]:
    """The lines that take the arguments out of the packed bytes, and where those end."""
    lines, offset = [], 0
    for parameter, slot in zip(parameters, slots, strict=True):
        is_element = slot.is_array and not parameter.raw
        name = f"_raw_{parameter.name}" if is_element else parameter.name
        const = "const " if parameter.is_const else ""
        lines.append(
            f"[[maybe_unused]] {const}{slot.ctype} {name} = "
            f"*reinterpret_cast<const {slot.ctype} *>(_arguments + {offset});"
        )
        offset += slot.nbytes
    return "\n".join(lines), offset


def _compile(source: str, name: str, flags: tuple[str, ...]) -> Compiled:
    function = compile_shared(source, name=name, flags=flags)._simgpu_run
    function.argtypes = [ctypes.c_char_p]
    function.restype = None
    return function


# ---------------------------------------------------------------------------------------------
# Launches

# The thread numbers and the reduction's shared memory are the compiled library's own variables.
_running = threading.Lock()


def _launch_packed(
    name: str, run: Compiled, block: bytes, arguments: Sequence[Argument], stream: Any
) -> None:
    def locked() -> None:
        with _running:
            run(block)

    launch(name, locked, [arg._view for arg in arguments if isinstance(arg, ndarray)], stream)


def _split_axes(axis: Any, ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes to reduce and those to keep, in order."""
    if axis is None:
        return tuple(range(ndim)), ()
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    for number in axes:
        if not -ndim <= number < ndim:
            raise np.exceptions.AxisError(number, ndim)
    reduced = tuple(sorted(number % ndim for number in axes))
    if len(set(reduced)) != len(reduced):
        raise ValueError("duplicate value in 'axis'")
    return reduced, tuple(number for number in range(ndim) if number not in reduced)


def _transposed(
    arguments: Sequence[Argument], parameters: Sequence[Parameter], order: tuple[int, ...]
) -> list[Argument]:
    if order == tuple(sorted(order)):
        return list(arguments)
    if any(parameter.raw for parameter in parameters):
        raise NotImplementedError("Illegal conditions")
    return [
        arg if isinstance(arg, Scalar) else wrap_view(arg, arg._view.transpose(order))
        for arg in arguments
    ]


def _lanes(looped: Sequence[ndarray], out_size: int) -> int:
    """How many threads share one output: CuPy's block size over its block stride.

    The stride grows with what is contiguous along the kept axes, which are the last ones here.
    """
    contiguous = max(_contiguous_tail(array._view, out_size) for array in looped)
    reduced_size = max(1, looped[0].size // out_size)
    stride = max(min(contiguous, 32), REDUCTION_BLOCK // reduced_size)
    return REDUCTION_BLOCK // (1 << (stride.bit_length() - 1))


def _contiguous_tail(view: np.ndarray, limit: int) -> int:
    """How many elements, up to the last axes' `limit`, lie next to each other."""
    run = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if run >= limit or stride != run * view.itemsize:
            break
        run *= size
    return min(run, limit)

"""The parameters of a CuPy kernel: their declaration, their types, their bytes.

Follows cupy/_core/_kernel.pyx of CuPy 14.2: T is decided by the outputs that are given, then by
the input arrays, never by a scalar, which is cast to it.
"""

from __future__ import annotations

import functools
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .array import adopt, ndarray, wrap_view
from .layout import get_dtype

C_TYPES = {
    "float64": "double", "float32": "float", "float16": "float16", "int64": "long long",
    "int32": "int", "int16": "short", "int8": "signed char", "uint64": "unsigned long long",
    "uint32": "unsigned int", "uint16": "unsigned short", "uint8": "unsigned char",
    "bool": "bool",
}  # fmt: skip
SCALAR_BYTES = 16  # the room every scalar takes among the packed arguments
TypeMap = tuple[tuple[str, np.dtype], ...]


def c_type(dtype: np.dtype) -> str:
    """CUDA's name for the dtype."""
    name = C_TYPES.get(dtype.name)
    if name is None:
        raise NotImplementedError(f"simgpu does not implement kernels on {dtype.name}")
    return name


@dataclass(frozen=True)
class Parameter:
    """One declared parameter, such as `raw T x`; `ctype` is a placeholder where dtype is None."""

    name: str
    ctype: str
    dtype: np.dtype | None
    raw: bool
    is_const: bool


@functools.cache
def parse(text: str, is_const: bool) -> tuple[Parameter, ...]:
    """The parameters of a declaration as `"T x, raw float32 y"`; inputs are const."""
    return tuple(_parse_one(part, is_const) for part in text.strip().split(",")) if text else ()


def _parse_one(text: str, is_const: bool) -> Parameter:
    words = text.split()
    if len(words) < 2:
        raise Exception(f"Syntax error: {text}")
    *keywords, type_name, name = words
    for keyword in keywords:
        if keyword not in ("raw", "_non_const"):
            raise Exception(f'Unknown keyword "{keyword}"')
    dtype = None if len(type_name) == 1 else get_dtype(type_name)
    return Parameter(
        name,
        type_name if dtype is None else c_type(dtype),
        dtype,
        raw="raw" in keywords,
        is_const=is_const and "_non_const" not in keywords,
    )


def check_kernel_name(name: str) -> None:
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z_0-9]*", name) is None:
        raise ValueError(f'Invalid kernel name: "{name}"')


# ---------------------------------------------------------------------------------------------
# Arguments


class Scalar:
    """A Python or NumPy scalar among the arguments."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, (bool, int, float, complex, np.generic)):
            raise TypeError(f"Unsupported type {type(value)}")
        self.value = value
        self.dtype = np.asarray(value).dtype

    def packed(self, dtype: np.dtype) -> bytes:
        """The bytes of the value as `dtype`; OverflowError for an integer that does not fit."""
        return np.array(self.value, dtype).tobytes().ljust(SCALAR_BYTES, b"\0")


Argument = ndarray | Scalar


def argument(value: Any) -> Argument:
    """The argument as a kernel takes it; TypeError for a NumPy array and other objects."""
    if isinstance(value, ndarray):
        return value
    if hasattr(value, "__cuda_array_interface__"):
        return adopt(value)
    return Scalar(value)


def broadcast(
    arguments: Sequence[Argument], parameters: Sequence[Parameter], use_size: bool
) -> tuple[list[Argument], tuple[int, ...]]:
    """The arguments with their arrays brought to one shape (`raw` ones left out), and the shape."""
    looped = [
        isinstance(arg, ndarray) and not parameter.raw
        for arg, parameter in zip(arguments, parameters, strict=False)
    ]
    if use_size and any(looped):
        raise ValueError("Specified 'size' can be used only if all of the ndarray are 'raw'.")
    if not use_size and not any(looped):
        raise ValueError("Loop size is undecided.")
    shapes = {
        arg.shape
        for arg, used in zip(arguments, looped, strict=True)
        if used and isinstance(arg, ndarray)
    }
    if len(shapes) <= 1:
        return list(arguments), next(iter(shapes), ())
    shape = np.broadcast_shapes(*shapes)
    return [
        broadcast_to(arg, shape) if used and isinstance(arg, ndarray) else arg
        for arg, used in zip(arguments, looped, strict=True)
    ], shape


def broadcast_to(array: ndarray, shape: tuple[int, ...]) -> ndarray:
    return wrap_view(array, np.broadcast_to(array._view, shape))


def decide_types(
    in_parameters: tuple[Parameter, ...],
    out_parameters: tuple[Parameter, ...],
    in_dtypes: Sequence[np.dtype | None],
    out_dtypes: Sequence[np.dtype | None],
) -> tuple[list[np.dtype], list[np.dtype], TypeMap]:
    """The dtypes of all inputs and outputs, and what each placeholder stands for.

    None marks a scalar input; `out_dtypes` is empty where no outputs were given. Raises TypeError
    for a mismatch, KeyError for a placeholder that no array decides.
    """
    types: dict[str, np.dtype] = {}
    given = [
        *zip(out_parameters, out_dtypes, strict=False),
        *zip(in_parameters, in_dtypes, strict=True),
    ]
    for parameter, dtype in given:
        if dtype is None:
            continue
        if parameter.dtype is not None:
            if dtype != parameter.dtype:
                raise TypeError(f"Type is mismatched. {parameter.name} {dtype} {parameter.dtype}")
        elif types.setdefault(parameter.ctype, dtype) != dtype:
            known = types[parameter.ctype]
            raise TypeError(
                f"Type is mismatched. {parameter.name} {dtype} {known} {parameter.ctype}"
            )
    in_types, out_types = (
        [types[p.ctype] if p.dtype is None else p.dtype for p in parameters]
        for parameters in (in_parameters, out_parameters)
    )
    return in_types, out_types, tuple(sorted(types.items()))


def outputs(
    given: Sequence[Argument],
    parameters: Sequence[Parameter],
    dtypes: Sequence[np.dtype],
    shape: tuple[int, ...],
    size_given: bool,
) -> list[ndarray]:
    """The output arrays: those given, checked, or new ones of the loop's shape."""
    if not given:
        if any(p.raw for p in parameters) and not size_given:
            raise ValueError("Output array size is Undecided")
        return [ndarray(shape, dtype) for dtype in dtypes]
    checked = []
    for parameter, array in zip(parameters, given, strict=True):
        if not isinstance(array, ndarray):
            raise TypeError("Output arguments type must be cupy.ndarray")
        if not parameter.raw and array.shape != shape:
            raise ValueError("Out shape is mismatched")
        checked.append(array)
    return checked


# ---------------------------------------------------------------------------------------------
# What the compiled function gets: one block of bytes


class Slot(NamedTuple):
    """How one argument is laid out in the packed bytes; equal slots share compiled code."""

    dtype: np.dtype
    ndim: int = 0
    c_contiguous: bool = True
    is_array: bool = False

    @property
    def nbytes(self) -> int:
        return 16 + 16 * self.ndim if self.is_array else SCALAR_BYTES

    @property
    def ctype(self) -> str:
        name = c_type(self.dtype)
        if not self.is_array:
            return name
        return f"CArray<{name}, {self.ndim}, {int(self.c_contiguous)}, 1>"


def slot_of(arg: Argument, dtype: np.dtype) -> Slot:
    if isinstance(arg, Scalar):
        return Slot(dtype)
    return Slot(arg.dtype, arg.ndim, arg._view.flags.c_contiguous, True)


def packed(arg: Argument, dtype: np.dtype) -> bytes:
    """The argument's bytes: a scalar's value as `dtype`, an array's address, size and layout."""
    if isinstance(arg, Scalar):
        return arg.packed(dtype)
    view = arg._view
    return struct.pack(
        f"{2 + 2 * view.ndim}q", arg._address(), view.size, *view.shape, *view.strides
    )


def packed_indexer(shape: tuple[int, ...]) -> bytes:
    """The bytes of a CIndexer over the shape."""
    return struct.pack(f"{1 + 2 * len(shape)}q", math.prod(shape), *shape, *[0] * len(shape))


def flattened(
    arguments: Sequence[Argument], parameters: Sequence[Parameter], shape: tuple[int, ...]
) -> tuple[list[Argument], tuple[int, ...]]:
    """The arrays and the loop as one axis, where every looped array is contiguous."""
    looped = [
        arg._view
        for arg, parameter in zip(arguments, parameters, strict=True)
        if isinstance(arg, ndarray) and not parameter.raw
    ]
    if len(shape) == 1 or not looped or not all(view.flags.c_contiguous for view in looped):
        return list(arguments), shape
    return [
        wrap_view(arg, arg._view.reshape(-1))
        if isinstance(arg, ndarray) and not parameter.raw
        else arg
        for arg, parameter in zip(arguments, parameters, strict=True)
    ], (looped[0].size,)

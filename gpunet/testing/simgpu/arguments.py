"""`cupy.RawKernel` and `cupy.RawModule`, whose launches check their arguments first.

A GPU reads as many bytes of an argument as the parameter has, whatever was passed; here an argument
of another size or kind is a TypeError, and so is a wrong number of arguments.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from . import library

MOST = 256  # parameters
_KINDS = {"p": "pointer", "a": "CArray", "f": "floating-point number", "i": "integer"}
_OF_DTYPE = {"b": "i", "i": "i", "u": "i", "f": "f"}
_OF_NUMBER = {bool: ("i", 1), int: ("i", 8), float: ("f", 8), complex: ("o", 16)}


class Parameter(NamedTuple):
    """What an argument is read as: its kind (p, a, f, i, or o for others) and bytes."""

    kind: str
    size: int

    def __str__(self) -> str:
        return f"{_KINDS.get(self.kind, 'value')} of {self.size} bytes"


@functools.lru_cache(maxsize=4096)
def parameters(function: int) -> tuple[Parameter, ...] | None:
    """Those of the kernel with this handle; None for a kernel of CuPy's own."""
    kinds, sizes = ctypes.create_string_buffer(MOST), (ctypes.c_size_t * MOST)()
    ours = library.load()
    count = ours.sim_parameters(ctypes.c_void_p(function), kinds, sizes, MOST)
    if count < 0:
        return None
    return tuple(Parameter(kinds.raw[i : i + 1].decode(), sizes[i]) for i in range(count))


def check(name: str, function: int, args: Sequence[Any]) -> None:
    """TypeError where the arguments are not what the kernel reads."""
    wanted = parameters(function)
    if wanted is None:  # some of which pass wide ints
        return
    if len(args) != len(wanted):
        raise TypeError(f"{name} takes {len(wanted)} arguments, {len(args)} were given")
    for number, (argument, parameter) in enumerate(zip(args, wanted, strict=True)):
        given = _given(argument)
        if given is not None and not _agree(argument, given, parameter):
            dtype = getattr(argument, "dtype", None)
            kind = type(argument).__name__ + ("" if dtype is None else f" ({dtype})")
            if type(argument) is int:
                kind += f" ({argument})"
            raise TypeError(
                f"{name}: argument {number} is a {kind} of {given.size} bytes, its parameter is a "
                f"{parameter}"
            )


def _given(argument: Any) -> Parameter | None:
    """What CuPy puts there; None for what is not known, or what CuPy refuses itself."""
    if argument is None:
        return Parameter("p", 8)
    if isinstance(argument, np.ndarray) and argument.size != 1:
        return None
    if isinstance(argument, np.ndarray | np.generic):
        return Parameter(_OF_DTYPE.get(argument.dtype.kind, "o"), argument.dtype.itemsize)
    if type(argument) in _OF_NUMBER:
        return Parameter(*_OF_NUMBER[type(argument)])
    is_address = hasattr(argument, "__cuda_array_interface__") or hasattr(argument, "mem")
    return Parameter("p", 8) if is_address else None  # CuPy's own structures pass as they are


def _agree(argument: Any, given: Parameter, wanted: Parameter) -> bool:
    """Whether a value may stand there: an address is an integer too, an array a CArray.

    CuPy passes an int as 8 bytes. Of these a GPU reads the lowest, which hold it where it fits.
    """
    if type(argument) is int and wanted.kind == "i":
        return -(1 << 8 * wanted.size - 1) <= argument < 1 << 8 * wanted.size
    if wanted.kind == "a" or given.kind == wanted.kind == "p":
        return given.kind == "p"
    kinds = {given.kind, wanted.kind}
    fits = len(kinds) == 1 or "o" in kinds or (given.kind, wanted.kind) == ("i", "p")
    return fits and given.size == wanted.size


class Function:
    """A RawKernel that a RawModule gave."""

    def __init__(self, kernel: Any, name: str) -> None:
        vars(self).update(_kernel=kernel, _name=name)

    def __call__(self, grid: Any, block: Any, args: Any, **kwargs: Any) -> None:
        check(self._name, self._kernel.kernel.ptr, args)
        self._kernel(grid, block, args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_kernel"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._kernel, name, value)

    def __reduce__(self) -> Any:
        return Function, (self._kernel, self._name)


@functools.cache
def checked_classes() -> tuple[type, type]:
    """RawKernel and RawModule for the attributes of `cupy`, where pickle finds them."""
    raw: Any = import_module("cupy._core.raw")

    class RawKernel(raw.RawKernel):  # type: ignore[misc]
        __module__, __qualname__, __doc__ = "cupy", "RawKernel", raw.RawKernel.__doc__

        def __call__(self, grid: Any, block: Any, args: Any, **kwargs: Any) -> None:
            check(self.name, self.kernel.ptr, args)
            super().__call__(grid, block, args, **kwargs)

    class RawModule(raw.RawModule):  # type: ignore[misc]
        __module__, __qualname__, __doc__ = "cupy", "RawModule", raw.RawModule.__doc__

        def get_function(self, name: str) -> Any:
            return Function(super().get_function(name), name)

    return RawKernel, RawModule

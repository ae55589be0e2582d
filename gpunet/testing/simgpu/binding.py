"""Lead CuPy's calls of the CUDA runtime to the simulated GPU.

CuPy's wheels link the runtime statically into one module, `cupy_backends.cuda.api.runtime`. Cython
gives such a module a table of the functions that it exports to other modules, `__pyx_capi__`; each
of CuPy's other modules looks its functions up there when it is imported. So that one module is
imported first, the table's entries are replaced by functions of ours with the same signatures, the
module's attributes by the same functions, and then CuPy may be imported.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from . import library

EXPORTS = Path(__file__).with_name("exports.tsv")
RUNTIME = "cupy_backends.cuda.api.runtime"
# Not to be replaced: constants, and functions that ask nothing of a device.
KEPT = re.compile(
    r"error|deviceAttribute|make_|_is_hip|_getCUDAMajor|runtimeGetVersion|get(Texture|Channel)"
)
NO_TEXTURES = re.compile(r".*(Array|3D|Texture|Surface)")
TYPES: dict[str, Any] = {
    "PyObject *": ctypes.py_object,
    "intptr_t": ctypes.c_ssize_t,
    "uintmax_t": ctypes.c_size_t,
    "size_t": ctypes.c_size_t,
    "unsigned int": ctypes.c_uint,
    "int": ctypes.c_int,
    "cudaMemcpyKind": ctypes.c_int,
    "float": ctypes.c_float,
}


class _Optional(ctypes.Structure):
    """How Cython passes a function's optional argument: whether it is given, and its value."""

    _fields_ = (("given", ctypes.c_int), ("value", ctypes.c_int))


class DoesNotFit(RuntimeError):
    """The installed CuPy is none that the simulated GPU knows."""


_api = ctypes.pythonapi
_api.PyCapsule_GetName.restype = ctypes.c_void_p
_api.PyCapsule_GetName.argtypes = [ctypes.py_object]
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p] * 3


def bind(describe: Callable[[], dict[str, Any]], new_thread: Callable[[], None]) -> None:
    """Replace the functions of CuPy's runtime module, once.

    describe: gives the device's properties. new_thread: called on each thread that uses the device.
    DoesNotFit where a signature is another one. Nothing else of CuPy may be imported before.
    """
    ours = library.load()
    runtime = import_module(RUNTIME)
    _replace(runtime, ours)
    function = ctypes.PyDLL(None, handle=ours._handle).sim_bind
    function.argtypes = [ctypes.py_object] * 3
    if function(runtime, describe, new_thread):
        raise DoesNotFit(f"CuPy {cupy_version()}: {RUNTIME} has no CUDARuntimeError")


def _replace(runtime: ModuleType, ours: ctypes.CDLL) -> None:
    table: dict[str, Any] = runtime.__pyx_capi__
    expected = dict(exports())
    for name in table:
        name_address = _api.PyCapsule_GetName(table[name])
        found = (ctypes.string_at(name_address) if name_address else b"").decode()
        if KEPT.match(name):
            continue
        if expected.get(name) != found:
            raise DoesNotFit(
                f"CuPy {cupy_version()} does not fit the simulated GPU: {name} is {found}, "
                f"expected {expected.get(name, 'no such function')}"
            )
        symbol = "no_textures" if NO_TEXTURES.match(name) else name
        function = getattr(ours, f"sim_{symbol}")
        address = ctypes.cast(function, ctypes.c_void_p)
        table[name] = _api.PyCapsule_New(address, name_address, None)
        if hasattr(runtime, name):
            if name == "getDeviceCount":
                address = ctypes.cast(ours.sim_seenDeviceCount, ctypes.c_void_p)
            setattr(runtime, name, _callable(name, found, address.value))


def exports() -> Iterator[tuple[str, str]]:
    """Name and signature of each function that CuPy's runtime module exports."""
    for line in EXPORTS.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, signature = line.split("\t")[:2]
            yield name, signature


def _callable(name: str, signature: str, address: int | None) -> Callable[..., Any]:
    """The function for Python; ctypes raises what it has set as Python's error."""
    match = re.fullmatch(r"(.*?) ?\((.*)\)", signature)
    assert match is not None, signature
    assert address is not None, name
    words = [re.sub(r" ?__pyx_\w+$", "", word.strip()) for word in match[2].split(", ")]
    optional = "opt_args" in signature
    words = [word for word in words if word != "void" and "opt_args" not in word]
    types = [ctypes.py_object if word.startswith("struct") else TYPES[word] for word in words]
    result = ctypes.py_object if match[1].startswith("struct") else TYPES[match[1]]
    extra = [ctypes.POINTER(_Optional)] if optional else []
    function = ctypes.PYFUNCTYPE(result, *types, *extra)(address)
    takes = len(types) - 1  # the last is Cython's

    def call(*args: Any, **kwargs: Any) -> Any:
        values = (*args, *kwargs.values())
        given = _Optional(int(len(values) > takes), values[takes] if len(values) > takes else 0)
        return function(*values[:takes], 0, *([ctypes.byref(given)] if optional else []))

    return functools.wraps(call, assigned=())(_named(call, name))


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    return function


def cupy_version() -> str | None:
    """The version of the CuPy wheel that is installed, None where there is none."""
    for found in distributions():
        name = (found.metadata["Name"] or "").lower()
        if name == "cupy" or name.startswith("cupy-cuda"):
            return found.version
    return None

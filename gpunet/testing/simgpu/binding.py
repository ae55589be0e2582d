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
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from . import library

SOURCE = Path(__file__).with_name("runtime.cpp")
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
    "unsigned": ctypes.c_uint,
    "int": ctypes.c_int,
    "float": ctypes.c_float,
}


class _Optional(ctypes.Structure):
    """How Cython passes a function's optional argument: whether it is given, and its value."""

    _fields_ = (("given", ctypes.c_int), ("value", ctypes.c_int))


TYPES["Optional *"] = ctypes.POINTER(_Optional)


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
    known = signatures()
    for name in table:
        name_address = _api.PyCapsule_GetName(table[name])
        found = (ctypes.string_at(name_address) if name_address else b"").decode()
        if KEPT.match(name):
            continue
        absent = NO_TEXTURES.match(name) is not None
        signature = plain(found)
        if not absent and known.get(name) != signature:
            raise DoesNotFit(
                f"CuPy {cupy_version()} does not fit the simulated GPU: {name} is {found}, "
                f"expected {known.get(name, 'no such function')}"
            )
        address = _address(ours, "no_textures" if absent else name)
        table[name] = _api.PyCapsule_New(address, name_address, None)
        if hasattr(runtime, name):
            address = _address(ours, "seenDeviceCount") if name == "getDeviceCount" else address
            setattr(runtime, name, _callable(name, signature, address))


def _address(ours: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(ours, f"sim_{name}"), ctypes.c_void_p).value or 0


def signatures() -> dict[str, str]:
    """Each function of runtime.cpp, with its signature as `plain` writes it."""
    text = SOURCE.read_text("utf-8")
    found = re.findall(r"^API ([^()]*?)sim_(\w+)\(([^)]*)\)", text, re.MULTILINE)
    return {name: plain(f"{result}({words})") for result, name, words in found}


def plain(signature: str) -> str:
    """A signature of C's or Cython's by its types alone, with what Cython calls `struct` by what it
    is: an object of Python's, or the optional arguments.
    """
    signature = re.sub(r"struct __pyx_opt_args\w+|Optional<int>", "Optional", signature)
    signature = re.sub(r"struct __pyx_obj\w+", "PyObject", signature)
    signature = signature.replace("unsigned int", "unsigned").replace("cudaMemcpyKind", "int")
    result, words = signature.rstrip(")").split("(")
    types = (re.match(r"\s*(\w+(?: \*)?)", word) for word in words.split(","))
    return f"{result.strip()} ({', '.join(found[1] for found in types if found)})"


def _callable(name: str, signature: str, address: int) -> Callable[..., Any]:
    """The function for Python; ctypes raises what it has set as Python's error."""
    result, _, words = signature.removesuffix(")").partition(" (")
    types = [TYPES[word] for word in words.split(", ") if word != "void"]
    optional = types[-1:] == [TYPES["Optional *"]]
    function = ctypes.PYFUNCTYPE(TYPES[result], *types)(address)
    types = types[:-1] if optional else types
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

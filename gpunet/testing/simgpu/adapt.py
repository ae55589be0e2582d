"""What CuPy has as code compiled for GPUs: replaced, or refused in clear words."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from . import arguments, library
from .compiler import MEND

# What CuPy calls libraries of NVIDIA's for.
ABSENT = {
    "cupy_backends.cuda.libs.cusolver": "cuSOLVER (cupy.linalg's decompositions)",
    "cupy_backends.cuda.libs.cusparse": "cuSPARSE (cupyx.scipy.sparse)",
    "cupy_backends.cuda.libs.cutensor": "cuTENSOR",
    "cupy_backends.cuda.libs.nccl": "NCCL",
    "cupy.cuda.cufft": "cuFFT (cupy.fft)",
}
GENERATORS = ("default_rng", "Generator", "XORWOW", "MRG32k3a", "Philox4x3210")


class Absent:
    """An importer that refuses what the simulated GPU does not have."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        refuse_absent(name)


def refuse_absent(module: str) -> None:
    """ImportError for a module of CuPy's that the simulated GPU cannot serve."""
    if module in ABSENT:
        raise ImportError(f"the simulated GPU has no {ABSENT[module]}: {MEND}", name=module)


class Lacking(ModuleType):
    """In place of a module that much of CuPy imports, and little uses."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _refusal(ABSENT["cupy_backends.cuda.libs.cusparse"])()


def adapt() -> None:
    """Change the attributes of CuPy's modules that lead to such code."""
    thrust = import_module("cupy.cuda").thrust
    for function in (sort, argsort, lexsort):
        setattr(thrust, function.__name__, function)
    cupy: Any = import_module("cupy")
    cupy.RawKernel, cupy.RawModule = arguments.checked_classes()
    for module in ("cupy_backends.cuda.libs", "cupy.cuda"):
        _refuse_before_looking(import_module(module))
    cupyx: Any = import_module("cupyx")
    sys.modules["cupyx.cusparse"] = cupyx.cusparse = Lacking("cupyx.cusparse")
    misc: Any = import_module("cupy._math.misc")
    misc._fftconv_faster = lambda *_: False  # else float arrays are convolved by cuFFT
    cub, core = import_module("cupy.cuda").cub, import_module("cupy._core")
    for name in dir(cub):
        if name.startswith(("cub_", "device_")):
            setattr(cub, name, _refusal("CUB's kernels"))
    for name in ("set_reduction_accelerators", "set_routine_accelerators"):
        setattr(core, name, _without_cub(getattr(core, name)))
    compiler: Any = import_module("cupy.cuda.compiler")
    compiler._jitify_prep = _refusal("Jitify")
    runtime = import_module("cupy.cuda").runtime
    for name in dir(runtime):
        if name.startswith("ipc") or name == "deviceDisablePeerAccess":
            setattr(runtime, name, _refusal("other device or process"))
    random = import_module("cupy.random")
    for name in GENERATORS:
        if hasattr(random, name):
            setattr(random, name, _refusal("cupy.random's Generator (RandomState is there)"))


def _refuse_before_looking(module: Any) -> None:
    """CuPy 14 looks for a library's files first, and would say that they are missing."""
    found = vars(module).get("__getattr__")
    if found is not None:

        def lookup(name: str) -> Any:
            refuse_absent(f"{module.__name__}.{name}")
            return found(name)

        module.__getattr__ = lookup


def _refusal(what: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"the simulated GPU has no {what}: {MEND}")

    return refuse


def _without_cub(choose: Callable[[Sequence[str]], None]) -> Callable[[Sequence[str]], None]:
    def chosen(accelerators: Sequence[str]) -> None:
        if "cub" in accelerators:
            _refusal("CUB's kernels")()
        choose(accelerators)

    return chosen


def sort(dtype: Any, data: int, keys: int, shape: Sequence[int]) -> None:
    """cupy.cuda.thrust.sort: each row of the last axis, in place. Addresses as integers."""
    rows = _array(data, dtype, shape)
    _launch("thrust_sort", lambda _: rows.sort(axis=-1, kind="stable"))


def argsort(dtype: Any, order: int, data: int, keys: int, shape: Sequence[int]) -> None:
    """cupy.cuda.thrust.argsort."""
    rows, found = _array(data, dtype, shape), _array(order, np.intp, shape)
    _launch("thrust_argsort", lambda _: np.copyto(found, rows.argsort(axis=-1, kind="stable")))


def lexsort(dtype: Any, order: int, keys: int, count: int, length: int) -> None:
    """cupy.cuda.thrust.lexsort: by `count` keys, the last one first."""
    rows, found = _array(keys, dtype, (count, length)), _array(order, np.intp, (length,))
    _launch("thrust_lexsort", lambda _: np.copyto(found, np.lexsort(rows)))


def _array(address: int, dtype: Any, shape: Sequence[int]) -> Any:
    """The device's memory there, which is the host's."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise TypeError(f"Sorting arrays with dtype '{dtype}' is not supported")
    memory = (ctypes.c_byte * (math.prod(shape) * dtype.itemsize)).from_address(address)
    return np.ndarray(tuple(shape), dtype, memory)


def _launch(name: str, work: Callable[[None], None]) -> None:
    """Run Python's `work` as a kernel on CuPy's current stream."""
    stream = import_module("cupy.cuda").get_current_stream().ptr
    launch = ctypes.PyDLL(None, handle=library.load()._handle).sim_launch_python
    launch.restype = ctypes.py_object
    launch(name.encode(), ctypes.py_object(work), ctypes.c_void_p(stream))

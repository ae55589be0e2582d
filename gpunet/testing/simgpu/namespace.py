"""The modules that stand in for `cupy` and its submodules.

A module has what the tables here give it. Any other name that CuPy has raises NotImplementedError
with that name; a name that CuPy has not raises AttributeError, as CuPy would.
"""

from __future__ import annotations

import importlib.machinery
from types import ModuleType
from typing import Any

import numpy as np

from . import (
    compiler,
    creation,
    cublas,
    device,
    errors,
    functions,
    graph,
    kernels,
    memory,
    names,
    pinned,
    pool,
    random,
    rawkernel,
    runtime,
    stream,
)
from .array import ndarray
from .ufuncs import UFUNCS, ufunc

_FROM_NUMPY = (
    "bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
    "complex128 intp uintp intc uintc int_ uint byte ubyte short ushort longlong ulonglong half "
    "single double csingle cdouble generic number integer signedinteger unsignedinteger inexact "
    "floating complexfloating bool dtype finfo iinfo result_type can_cast promote_types "
    "broadcast_shapes issubdtype isscalar pi e inf nan newaxis euler_gamma"
)


def _of(module: Any, text: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in text.split()}


def get_array_module(*args: Any) -> ModuleType:
    """`cupy` if any argument is an array on the device, else `numpy`."""
    return cupy if any(isinstance(arg, ndarray) for arg in args) else np


def _testing(function: Any) -> Any:
    """An assertion of NumPy's on copies of the arrays in host memory, as CuPy's are."""
    return lambda *args, **kwargs: function(*[creation.asnumpy(arg) for arg in args], **kwargs)


def _is_available() -> bool:
    return True


def _get_device_id() -> int:
    return 0


_STREAM = _of(stream, "Stream ExternalStream Event get_current_stream get_elapsed_time")
_MEMORY = {
    **_of(memory, "BaseMemory Memory UnownedMemory MemoryPointer"),
    **_of(pool, "MemoryPool alloc get_allocator set_allocator"),
}
_PINNED = _of(pinned, "PinnedMemoryPointer PinnedMemoryPool alloc_pinned_memory")
_DEVICE = {"Device": device.Device, "get_device_id": _get_device_id}
_RUNTIME_FUNCTIONS = (
    "CUDARuntimeError getDeviceCount getDevice setDevice getDeviceProperties deviceGetAttribute "
    "deviceSynchronize driverGetVersion runtimeGetVersion memGetInfo memcpyAsync memcpy memset "
    "memsetAsync streamSynchronize streamQuery streamIsCapturing"
)
_SCATTERS = {"add": "add", "max": "maximum", "min": "minimum"}
_RANDOM = (
    "Generator default_rng seed rand randn random random_sample uniform normal standard_normal "
    "randint permutation shuffle"
)

CONTENTS: dict[str, dict[str, Any]] = {
    "cupy.cuda.runtime": {**_of(runtime, _RUNTIME_FUNCTIONS), **runtime.CONSTANTS},
    "cupy.cuda.driver": {
        "CUDADriverError": errors.CUDADriverError,
        "CUDA_ERROR_INVALID_VALUE": errors.DRIVER_INVALID_VALUE,
    },
    "cupy.cuda.stream": _STREAM,
    "cupy.cuda.memory": {
        **_MEMORY,
        "PooledMemory": pool.PooledMemory,
        "OutOfMemoryError": errors.OutOfMemoryError,
    },
    "cupy.cuda.pinned_memory": _PINNED,
    "cupy.cuda.device": _DEVICE,
    "cupy.cuda.graph": {"Graph": graph.Graph},
    "cupy.cuda.compiler": {"CompileException": compiler.CompileException},
    "cupy.cuda": {
        **_STREAM,
        **_MEMORY,
        **_PINNED,
        **_DEVICE,
        "Graph": graph.Graph,
        "using_allocator": pool.using_allocator,
        "is_available": _is_available,
    },
    "cupy.linalg": {"norm": functions.norm},
    "cupy.random": _of(random, _RANDOM),
    "cupy.exceptions": _of(np.exceptions, "AxisError ComplexWarning VisibleDeprecationWarning"),
    "cupy": {
        **_of(np, _FROM_NUMPY),
        **UFUNCS,
        **functions.FUNCTIONS,
        "__version__": names.version(),
        "ndarray": ndarray,
        "ufunc": ufunc,
        "ElementwiseKernel": kernels.ElementwiseKernel,
        "ReductionKernel": kernels.ReductionKernel,
        "RawKernel": rawkernel.RawKernel,
        "RawModule": rawkernel.RawModule,
        "get_array_module": get_array_module,
        "get_default_memory_pool": pool.get_default_memory_pool,
        "get_default_pinned_memory_pool": pinned.get_default_pinned_memory_pool,
        "is_available": _is_available,
    },
    "cupy.testing": {
        name: _testing(getattr(np.testing, name))
        for name in ("assert_allclose", "assert_array_equal", "assert_array_almost_equal")
    },
    "cupyx": {f"scatter_{name}": UFUNCS[full].at for name, full in _SCATTERS.items()},
}


def _module(path: str, contents: dict[str, Any]) -> ModuleType:
    module = ModuleType(path, f"Stands in for {path} on machines without a GPU.")
    module.__spec__ = importlib.machinery.ModuleSpec(path, None, is_package=True)
    module.__path__ = []
    vars(module).update(contents)

    def missing(name: str) -> Any:
        if name in names.names_of(path):
            raise NotImplementedError(f"simgpu does not implement {path}.{name}")
        raise AttributeError(f"module {path!r} has no attribute {name!r}")

    vars(module)["__getattr__"] = missing
    return module


_modules = {path: _module(path, contents) for path, contents in CONTENTS.items()}
for _path, _child in _modules.items():
    _parent, _, _name = _path.rpartition(".")
    if _parent:
        setattr(_modules[_parent], _name, _child)

# In CuPy, too, this one is an attribute of `cupy.cuda` that no import statement finds.
MODULES = {path: module for path, module in _modules.items() if path != "cupy.cuda.driver"}
cupy = MODULES["cupy"]
vars(cupy)["_gpunet_cublas"] = cublas.LIBRARY  # no name of CuPy's: gpunet.gemm looks for it

"""Bring the simulated GPU under CuPy: whether that can be done, and when; the hooks it needs."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import platform
import re
import sys
import threading
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from gpunet import cxx

from . import adapt, binding, compiler, device, library
from .binding import DoesNotFit

SUPPORTED = ((13, 6), (15, 0))  # from the first, below the second
_lock = threading.Lock()
_bound = False


def problem() -> str | None:
    """Why there can be no simulated GPU in this process; None where there can."""
    if _bound:
        return None
    if not sys.platform.startswith("linux"):
        return f"the simulated GPU needs Linux, this is {platform.system()}"
    usable, reason = cxx.available()
    if not usable:
        return f"the simulated GPU needs g++: {reason}"
    version = binding.cupy_version()
    if version is None or PathFinder.find_spec("cupy") is None:
        return "the simulated GPU needs a CuPy wheel: pip install cupy-cuda13x (or cupy-cuda12x)"
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not SUPPORTED[0] <= number < SUPPORTED[1]:
        return f"the simulated GPU needs CuPy 13.6 to 14, this is {version}"
    if binding.RUNTIME in sys.modules:
        return (
            "CuPy was imported before gpunet.testing.simgpu, without the simulated GPU "
            "(python -m gpunet.testing.simgpu -m pytest comes before all)"
        )
    return None


def bind() -> None:
    """Put the simulated GPU under CuPy, once in a process; it stays out of sight until `switch`."""
    global _bound
    with _lock:
        if _bound:
            return
        reason = problem()
        if reason:
            raise DoesNotFit(reason)
        # What is compiled here is no code for a GPU: it must not meet a real one's.
        os.environ["CUPY_CACHE_DIR"] = str(cxx.cache_folder() / "cupy")
        os.environ["CUDA_PATH"] = os.environ["CUDA_HOME"] = str(compiler.FOLDER)
        os.environ["NVCC"] = f"{sys.executable} -m gpunet.testing.simgpu.nvcc"
        os.environ["CUPY_ACCELERATORS"] = ""  # cub's kernels are compiled for GPUs
        binding.bind(device.properties, hook_pools)
        _bound = True
        sys.meta_path.insert(0, adapt.Absent())


class Early:
    """An importer that binds the simulated GPU as soon as somebody imports CuPy."""

    def find_spec(self, name: str, path: Any = None, target: object = None) -> Any:
        spec = PathFinder.find_spec(name, path) if name == "cupy" and not _bound else None
        loader: Any = spec and spec.loader
        if not spec or not spec.submodule_search_locations or problem() is not None:
            return None  # a module of that name is no CuPy
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with contextlib.suppress(DoesNotFit, cxx.CompileError):  # `activate` says it
                bind()
            run(module)

        loader.exec_module = exec_module
        return spec


def watch() -> None:
    """From now on `import cupy` finds the simulated GPU in its place, switched off.

    Not where there is a driver of NVIDIA's: that machine's CuPy is for its GPU until `bind`.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        sys.meta_path.insert(0, Early())


@functools.cache
def cupy() -> ModuleType:
    """CuPy, on the simulated GPU."""
    bind()
    module = import_module("cupy")
    adapt.adapt()
    return module


def switch(on: bool) -> None:
    """Let CuPy see the device, or none."""
    library.load().sim_activate(int(on))
    cuda: Any = sys.modules.get("cupy.cuda")
    if cuda is not None and hasattr(cuda, "_available"):
        cuda._available = None  # its memory of what it saw


def hook_pools() -> None:
    """Have CuPy's pools tell of each block that they give and take, on this thread."""
    memory_hook = import_module("cupy.cuda.memory_hook")
    if _NAME not in memory_hook.get_memory_hooks():
        hook = _pool_hook()
        hook.__enter__()
        if threading.current_thread() is threading.main_thread():
            atexit.register(hook.__exit__)  # arrays may outlive Python's modules


_NAME = "gpunet-simgpu"


def _pool_hook() -> Any:
    memory_hook: Any = import_module("cupy.cuda.memory_hook")
    stream = import_module("cupy.cuda.stream")
    ours = library.load()
    gave, took = ours.sim_pool_gave, ours.sim_pool_took
    gave.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
    took.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

    def current() -> int:
        """The stream, which matters only where streams are put off."""
        return int(stream.get_current_stream().ptr) if ours.sim_is_deferred() else 0

    class Hook(memory_hook.MemoryHook):  # type: ignore[misc]
        name = _NAME

        def malloc_postprocess(self, *, size: int, mem_size: int, mem_ptr: int, **_: Any) -> None:
            gave(mem_ptr, size, mem_size, current())

        def free_preprocess(self, *, mem_size: int, mem_ptr: int, **_: Any) -> None:
            took(mem_ptr, mem_size, current())

    return Hook()

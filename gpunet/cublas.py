"""cuBLAS past CuPy's wrapper: its C functions, a handle a thread, and a workspace a stream."""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import platform
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from gpunet.backend import loaded_cupy
from gpunet.lock import RLock
from gpunet.pool import place

# Numbers of cuBLAS's C interface (cublas_api.h).
DEFAULT_MATH = 0  # no fewer bits than the compute type has
STATUS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
    16: "CUBLAS_STATUS_LICENSE_ERROR",
}


class Workspace:
    """Memory of a stream, for cuBLAS to write parts of its sums into.

    Without one it would allocate in a capture; and one for two streams would be written by both.
    Handles share it, for their work on one stream is in order.
    """

    def __init__(self, cupy: Any, size: int) -> None:
        # Straight from cudaMalloc: a pool could lend it again while a graph still writes to it.
        self.memory = cupy.cuda.Memory(size)


_workspaces: WeakValueDictionary[tuple[Any, int, int, int], Workspace] = WeakValueDictionary()
_lately: deque[Workspace] = deque(maxlen=4)
_lock = RLock()


def workspace(cupy: Any, stream: Any, size: int) -> Workspace:
    """That of the current stream, `stream`, made with `size` bytes where it has none.

    It lives as long as any Stream object that it was asked for with, since no graph that was
    captured there may outlive it; and for a while longer, since many an object is made for one step
    of a stream of somebody else's. (A new stream at a dead one's address goes on with its memory.)
    """
    key = cupy, *place(cupy)
    with _lock:
        found = _workspaces.get(key)
        if found is None:
            found = _workspaces[key] = Workspace(cupy, size)
        if found in _lately:
            _lately.remove(found)
        _lately.append(found)
        vars(stream).setdefault("_gpunet_workspaces", {})[key] = found
        return found


class Handle:
    """A cuBLAS handle, which one thread uses at a time, and the stream that it is set to.

    capability: of its device, 90 for 9.0.
    """

    def __init__(self, cupy: Any, library: Any, device: int) -> None:
        if cupy.cuda.get_current_stream().is_capturing():
            raise RuntimeError(
                "a thread's first matrix product creates its cuBLAS handle, which must not happen "
                "in a capture: run what is to be captured once before"
            )
        self.cupy, self.library, self.device = cupy, library, device
        self.single, self.batched = library.cublasGemmEx, library.cublasGemmStridedBatchedEx
        self.pointer = ctypes.c_void_p()
        self.stream: Any = None
        self.capability = int(cupy.cuda.Device(device).compute_capability)
        check(library.cublasCreate_v2(ctypes.byref(self.pointer)), "cublasCreate_v2")
        check(library.cublasSetMathMode(self.pointer, DEFAULT_MATH), "cublasSetMathMode")

    def use(self, stream: Any) -> None:
        """Set the current stream and its workspace, in this order: the one resets the other."""
        memory = workspace(self.cupy, stream, self._workspace_size()).memory
        pointer = ctypes.c_void_p
        status = self.library.cublasSetStream_v2(self.pointer, pointer(stream.ptr))
        check(status, "cublasSetStream_v2")
        status = self.library.cublasSetWorkspace_v2(
            self.pointer, pointer(memory.ptr), ctypes.c_size_t(memory.size)
        )
        check(status, "cublasSetWorkspace_v2")
        self.stream = stream  # held, so that no other stream can come to be the same object

    def _workspace_size(self) -> int:
        """What cuBLAS's manual recommends: 32 MiB from Hopper on, and ample before."""
        return (32 if self.capability >= 90 else 8) << 20


_idle: dict[tuple[Any, int], list[Handle]] = {}


class _Handles(dict[tuple[Any, int], Handle]):
    """A thread's handles, by CuPy module and device. When the thread ends, others may have them.

    They are never destroyed: cublasDestroy waits for the device, which would spoil a capture.
    """

    def __del__(self, idle: dict[tuple[Any, int], list[Handle]] = _idle) -> None:
        for key, handle in self.items():
            idle.setdefault(key, []).append(handle)


class _Thread(threading.local):
    def __init__(self) -> None:
        self.handles = _Handles()


_thread = _Thread()


def handle_of(cupy: Any) -> Handle | None:
    """This thread's handle for the current device, set to the current stream; None without cuBLAS.

    Raises RuntimeError where a new one would be created in a capture.
    """
    key = cupy, cupy.cuda.get_device_id()
    handle = _thread.handles.get(key)
    if handle is None:
        found = library()
        if found is None:
            return None
        handle = _thread.handles[key] = _idle_handle(key) or Handle(cupy, found, key[1])
    stream = cupy.cuda.get_current_stream()
    if stream is not handle.stream:
        handle.use(stream)
    return handle


def before_capture(cupy: Any) -> None:
    """Make what products in a capture on the current stream must find: whichever thread ran what is
    to be captured. Nothing where no products were made.
    """
    with _lock:
        made = any(key[0] is cupy for key in _workspaces)
    if made:
        handle_of(cupy)


def _idle_handle(key: tuple[Any, int]) -> Handle | None:
    try:
        return _idle[key].pop()
    except (KeyError, IndexError):
        return None


def check(status: int, routine: str) -> None:
    if status:
        name = STATUS.get(status, "an unknown status")
        raise RuntimeError(f"{routine} failed: {name} ({status})")


def library() -> Any | None:
    """cuBLAS's C functions, or None where there is no library (or no CuPy that could need it).

    Without it products are CuPy's own: in full precision, and refused in a capture.
    """
    return None if loaded_cupy() is None else _load()


@functools.cache
def _load() -> Any | None:
    """The library that CuPy itself uses: the one that it has loaded, or would load."""
    for name, mode in _places():
        try:
            return ctypes.CDLL(name, mode)
        except OSError:
            continue
    return None


def _places() -> Iterator[tuple[str, int]]:
    """Names for the system's loader, each with a mode: what is loaded already under this CuPy's own
    name (beside another CUDA's packages the next place may be theirs); where CuPy looks, in a pip
    package above all; the name again.
    """
    cupy: Any = loaded_cupy()
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    windows = platform.system() == "Windows"
    name = f"cublas64_{major}.dll" if windows else f"libcublas.so.{major}"
    if not windows:
        yield name, ctypes.DEFAULT_MODE | os.RTLD_NOLOAD
    try:
        pathfinder = importlib.import_module("cuda.pathfinder")
        yield str(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path), ctypes.DEFAULT_MODE
    except Exception:  # not installed, or it finds none: then the system's loader may
        pass
    yield name, ctypes.DEFAULT_MODE

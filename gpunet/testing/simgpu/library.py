"""The C++ library of the simulated GPU, built on first use, and loaded under NVIDIA's names.

CuPy finds libcuda, NVRTC, cuBLAS and cuRAND by their sonames. One library of ours has all their
functions; for each soname an empty one depends on it. Loaded first, by absolute path, these are
what every later search for the name finds.
"""

from __future__ import annotations

import ctypes
import functools
import os
import traceback
from pathlib import Path

import numpy as np

from gpunet import cxx

from . import compiler, sanitizer
from .modes import ORDERS, STREAMS, chosen

FOLDER = Path(__file__).resolve().parent
PARTS = ("errors", "streams", "memory", "scheduler", "modules", "nvrtc", "cublas", "curand")
SONAME = "libgpunet-simgpu.so"
MAJORS = (12, 13)
NAMES = ("cudart", "nvrtc", "cublas", "cublasLt")
FLAGS = (
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    "-U_FORTIFY_SOURCE",  # fibers jump between stacks, which fortified longjmp refuses
    "-w",
    f"-I{FOLDER}",
    f"-I{cxx.HEADERS}",
)
COMPILATION, INTERNAL = 6, 11  # NVRTC's numbers
COMPILERS = ("cupy.cuda.", "cupy._core.", "cupy._util", "cupyx.jit", f"{__package__}.")


def _compile(
    source: str,
    names: list[str],
    texts: list[str],
    options: list[str],
    expressions: list[str],
) -> tuple[int, str, str]:
    """For nvrtc.cpp: NVRTC's status, the file that was made, and the log."""
    headers = list(zip(names, texts, strict=True))
    try:
        path = compiler.compile_program(source, headers, options, expressions, _is_cupys_own())
    except cxx.CompileError as error:
        return COMPILATION, "", str(error)
    except Exception:  # C called: nothing may leave here
        return INTERNAL, "", traceback.format_exc()
    return 0, str(path), cxx.warnings(path)


def _is_cupys_own() -> bool:
    """Whether a function of CuPy's, not its user, has asked for the kernel that is compiled now."""
    callers = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    asks = next((name for name in callers if not name.startswith(COMPILERS)), "")
    return asks.startswith(("cupy.", "cupyx."))


@functools.cache
def load() -> ctypes.CDLL:
    """Build and load the library and its names. cxx.CompileError where g++ refuses."""
    names = ["libcuda.so.1", "libcurand.so.10"]
    names += [f"lib{name}.so.{major}" for major in MAJORS for name in NAMES]
    path = _built()
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    for name in names:
        ctypes.CDLL(str(_stand_in(name, path)), mode=ctypes.RTLD_GLOBAL)
    library.sim_device_bytes.restype = ctypes.c_size_t
    library.sim_traced.restype = ctypes.c_char_p
    library.sim_counters.restype = ctypes.POINTER(ctypes.c_uint64)
    with_python = ctypes.PyDLL(None, handle=library._handle)
    with_python.sim_set_compiler(ctypes.py_object(_compile))
    set_modes(library)
    for blas in Path(np.__file__).parents[1].glob("numpy.libs/libscipy_openblas64_*"):
        library.sim_set_blas(os.fsencode(blas))
    return library


def set_modes(
    library: ctypes.CDLL, order: str = "", seed: int | None = None, streams: str = ""
) -> None:
    """Tell the device how to behave: as the environment says, but for what is given."""
    modes = chosen()
    for word, known in ((order, ORDERS), (streams, STREAMS)):
        if word and word not in known:
            raise ValueError(f"{word!r} is none of {', '.join(known)}")
    library.sim_set_modes(
        ORDERS.index(order or modes.order),
        ctypes.c_uint64(modes.seed if seed is None else seed),
        STREAMS.index(streams or modes.streams),
        int(modes.arithmetic == "gpu"),
    )


def _built() -> Path:
    sources = [FOLDER / f"{part}.cpp" for part in (*PARTS, "runtime")]
    headers = [FOLDER / f"{name}.h" for name in ("sim", "python_api", "emulator_types")]
    text = "\n".join(["#include <algorithm>", '#include "sim.h"', *(_include(s) for s in sources)])
    asan = sanitizer.FLAGS if sanitizer.wanted() else ()
    flags = (*FLAGS, *asan, "-shared", f"-Wl,-soname,{SONAME}", "-ldl", "-lpthread")
    return cxx.build(text, name="simgpu", flags=flags, headers=[*headers, cxx.FLUSHING, *sources])


def _include(path: Path) -> str:
    return f'#include "{path.name}"'


def _stand_in(soname: str, library: Path) -> Path:
    """An empty library of that soname, and of a version of that name, which NEEDED asks for."""
    link = (f"-Wl,-soname,{soname}", "-Wl,--default-symver", "-Wl,--no-as-needed", str(library))
    return cxx.build("int simgpu;", name=soname, flags=("-shared", "-fPIC", *link))

"""What this machine has for gpunet, and if no GPU is usable, exactly why and what mends it."""

from __future__ import annotations

import ctypes
import importlib
import platform
from dataclasses import dataclass
from typing import Any

import numpy as np

PACKAGES = ("gpunet", "numpy", "fastrlock", "safetensors", "click", "tqdm", "matplotlib")
OLDEST_CUDA = 12000  # of a driver, for the CuPy wheels that there are


@dataclass(frozen=True)
class Problem:
    """Why no GPU is usable, and the command or step that mends it."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver says: how many GPUs, and the newest CUDA that it runs (13000...)."""

    devices: int
    cuda: int

    @property
    def extra(self) -> str:
        """The gpunet extra that fits this driver."""
        return "cuda13" if self.cuda >= 13000 else "cuda12"

    @property
    def version(self) -> str:
        """ "13.0"."""
        return f"{self.cuda // 1000}.{self.cuda % 1000 // 10}"


def installed(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of the packages that are there."""
    from importlib import metadata  # which loads all of `email`

    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cupy_wheels() -> list[str]:
    """Every installed distribution that carries the module `cupy`: more than one is a mistake."""
    from importlib import metadata

    names = ((d.metadata["Name"] or "").lower() for d in metadata.distributions())
    return sorted({n for n in names if n == "cupy" or n.startswith(("cupy-cuda", "cupy-rocm"))})


def driver() -> Driver | Problem:
    """The NVIDIA driver, asked directly: no CUDA runtime and no CuPy is needed for that."""
    name = "nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        return Problem(
            f"no NVIDIA driver: {name} is not on this machine",
            "install the driver (on Debian and Ubuntu: apt-get install nvidia-driver), or train "
            "on the CPU",
        )
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    status = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        words = ctypes.c_char_p()
        cuda.cuGetErrorString(status, ctypes.byref(words))
        text = f" ({words.value.decode()})" if status and words.value else ""
        return Problem(
            f"the NVIDIA driver finds no GPU: CUDA error {status}{text}",
            "run nvidia-smi; in a container start it with --gpus all; check CUDA_VISIBLE_DEVICES",
        )
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return Driver(count.value, version.value)


def install(wheels: list[str], extra: str) -> str:
    """The command that leaves the CuPy of `extra`, whole, and no other."""
    where = "gpunet" if "gpunet" in installed(("gpunet",)) else "."  # a checkout, not installed
    command = f"pip install '{where}[{extra}]'"
    if not wheels or wheels == [f"cupy-{extra}x"]:
        return command
    return f"pip uninstall -y {' '.join(wheels)} && {command}"


def driver_problem(found: Driver, wheels: list[str]) -> Problem | None:
    """A driver too old for the CuPy that is there, or for any."""
    newer = "https://www.nvidia.com/drivers"
    if found.cuda < OLDEST_CUDA:
        return Problem(
            f"the NVIDIA driver is too old: it runs CUDA {found.version}, and CuPy needs 12.0",
            f"install a newer driver, {newer}",
        )
    if "cupy-cuda13x" in wheels and found.extra == "cuda12":
        return Problem(
            f"the NVIDIA driver is too old for cupy-cuda13x: it runs CUDA {found.version}",
            f"{install(wheels, found.extra)}, or install a newer driver, {newer}",
        )
    return None


def cupy_problem(wheels: list[str], extra: str) -> Problem | None:
    """Two CuPy wheels, none, or one that does not import."""
    if len(wheels) > 1:
        return Problem(
            f"two CuPy wheels share one folder: {', '.join(wheels)}; the last installed hides the "
            "other",
            install(wheels, extra),
        )
    try:
        cupy = importlib.import_module("cupy")
        cupy.cuda.runtime  # noqa: B018 - a leftover folder imports as an empty namespace
    except Exception as error:  # a CuPy for another CUDA or NumPy raises nearly anything
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            return Problem("CuPy is not installed", install([], extra))
        # Uninstalled first, for pip takes what is broken for installed.
        again = f"pip uninstall -y {' '.join(wheels) or 'cupy'} && {install([], extra)}"
        return Problem(f"CuPy does not import: {_line(error)}", again)
    return None


def compute_problem(cupy: Any, wheels: list[str], extra: str) -> Problem | None:
    """Compile and run a kernel, then a matrix product: the only proof that all parts are there."""
    try:
        double = cupy.ElementwiseKernel("T x", "T y", "y = x + x", "gpunet_probe")
        x = double(cupy.arange(4, dtype=np.float32))
        cupy.matmul(x[None], x[:, None]).get()
    except Exception as error:
        return explain(error, install(wheels, extra))
    return None


def explain(error: Exception, command: str) -> Problem:
    """The reason behind an error of CuPy's first kernel; `command` installs the parts of CUDA."""
    text = _line(error)
    low = text.lower()
    if "headers" in low or "cannot open source file" in low or "could not open source" in low:
        return Problem(f"the CUDA headers are missing ({text})", command)
    if "nvrtc_error" in low:
        return Problem(f"NVRTC does not compile for this GPU ({text})", f"{command} --upgrade")
    if "nvrtc" in low:
        return Problem(f"NVRTC, which compiles the kernels, is missing ({text})", command)
    if "cublas" in low:
        return Problem(f"cuBLAS is missing or broken ({text})", command)
    if "insufficientdriver" in low:
        return Problem(
            f"the NVIDIA driver is older than this CuPy needs ({text})",
            "install a newer driver, https://www.nvidia.com/drivers",
        )
    if "outofmemory" in low or "memoryallocation" in low:
        return Problem(
            f"the GPU's memory is full ({text})", "end what fills it; nvidia-smi lists it"
        )
    return Problem(f"the GPU does not compute ({text})", "run nvidia-smi; restart the machine")


def _line(error: Exception) -> str:
    """The error in one line, cut to what a reader takes in."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 240 else text[:237] + "..."


def problems() -> list[Problem]:
    """Everything that keeps a GPU from being used; empty where one works."""
    found, wheels = driver(), cupy_wheels()
    if isinstance(found, Driver):
        extra, first = found.extra, driver_problem(found, wheels)
    else:
        extra, first = "cuda13", found
    listed = [first, cupy_problem(wheels, extra)]
    trouble = [p for p in listed if p]
    if not trouble:
        broken = compute_problem(importlib.import_module("cupy"), wheels, extra)
        trouble = [broken] if broken else []
    return trouble


def gpu_names() -> list[str]:
    """The GPUs that CuPy sees, by name and memory."""
    runtime = importlib.import_module("cupy").cuda.runtime
    found = []
    for k in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(k)
        name = properties["name"]
        name = name.decode() if isinstance(name, bytes) else name
        found.append(f"{name}, {properties['totalGlobalMem'] / 2**30:.0f} GiB")
    return found


def report() -> str:
    """What `gpunet info` prints."""
    wheels = cupy_wheels()
    versions = installed((*PACKAGES[:2], *wheels, *PACKAGES[2:]))
    lines = [f"{name:<14} {version}" for name, version in versions.items()]
    found = driver()
    if isinstance(found, Driver):
        lines.append(f"{'driver':<14} for CUDA up to {found.version}")
    trouble = problems()
    if not trouble:
        lines += [f"{'GPU':<14} {name}" for name in gpu_names()]
        return "\n".join(lines)
    lines.append(f"{'GPU':<14} none usable")
    for problem in trouble:
        lines += [f"  why: {problem.reason}", f"  fix: {problem.remedy}"]
    return "\n".join(lines)

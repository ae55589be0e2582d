"""What a training runs in: beside data and settings, what its last bits depend on."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.backend import loaded_cupy


def surroundings(device: str) -> dict[str, Any]:
    """Versions, and of each BLAS library its version, kernels ("architecture") and threads; on a
    GPU its name, CuPy and CUDA.
    """
    found: dict[str, Any] = {
        "device": device,
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gpunet": _version("gpunet"),
        "blas": threads.blas(),
    }
    cupy = loaded_cupy()
    if device == "cuda" and cupy is not None:
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        found["gpu"] = properties["name"].decode()
        found["cupy"] = cupy.__version__
        found["cuda"] = cupy.cuda.runtime.runtimeGetVersion()
    return found


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # which loads all of `email`

    try:
        return version(name)
    except PackageNotFoundError:  # run from a folder
        return "unknown"

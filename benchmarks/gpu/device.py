"""The GPU and the software on it, as a record names them."""

from __future__ import annotations

import platform
import shutil
import subprocess
from typing import Any

import numpy as np

import gpunet as gn
from gpunet import machine
from gpunet.testing import simgpu


def device(place: str) -> dict[str, Any]:
    """The device and the software on it, or {"problem": why there is none}."""
    if place == "sim":
        usable, reason = simgpu.available()
        if not usable:
            return {"problem": f"no simulated GPU: {reason}"}
    elif problems := machine.problems():
        return {"problem": "; ".join(p.reason for p in problems)}
    cupy = gn.backend.cupy()
    runtime = cupy.cuda.runtime
    return {
        "device": "simulated" if place == "sim" else machine.gpu_names()[0],
        "driver": _driver(),
        "cuda_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _driver() -> str:
    """The driver's own version, if nvidia-smi is there to tell it."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "unknown"
    command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"

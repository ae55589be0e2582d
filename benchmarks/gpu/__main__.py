"""python -m benchmarks.gpu NAME PLACE: run one of these, and print what it returns as JSON.

PLACE is cuda, or sim for the simulated GPU.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from benchmarks.gpu.device import device
from benchmarks.gpu.digits import training
from benchmarks.gpu.phases import phases
from benchmarks.gpu.products import products
from benchmarks.gpu.step_timings import step_timings, streaming
from benchmarks.gpu.steps import step
from benchmarks.gpu.update_timings import optimizer, training_step
from gpunet.testing import simgpu

FUNCTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "device": device,
    "training": training,
    "products": products,
    "step": step,
    "streaming": streaming,
    "optimizer": optimizer,
    "training_step": training_step,
    "step_timings": step_timings,
    "phases": phases,
}


def main(name: str, place: str) -> None:
    with simgpu.activate() if place == "sim" else nullcontext():
        print(json.dumps(FUNCTIONS[name](place)))


if __name__ == "__main__":
    main(*sys.argv[1:])

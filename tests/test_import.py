"""`import gpunet`: what it loads, and how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gpunet

# Each is loaded when it is used: CuPy by a GPU, safetensors by a file, numpy.random by a layer.
LATER = {"cupy", "cupyx", "cuda", "matplotlib", "safetensors", "tqdm", "click", "PIL", "numpy.random"}  # fmt: skip  # noqa: E501

LOADED = "import gpunet, sys; print(*sorted(sys.modules))"
TIMED = """
import time
start = time.process_time()
import numpy
middle = time.process_time()
import gpunet
print(middle - start, time.process_time() - middle)
"""


def python(code: str, cache: Path) -> list[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}  # no tracing
    environment = plain | {
        "PYTHONPATH": str(Path(gpunet.__file__).parents[1]),
        "PYTHONPYCACHEPREFIX": str(cache),  # compiled once, as an installation is
        "PYTHONDONTWRITEBYTECODE": "",
    }
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return result.stdout.split()


def test_what_it_loads(tmp_path: Path) -> None:
    loaded = set(python(LOADED, tmp_path))
    assert "gpunet.layers" in loaded  # it did import
    assert not {"gpunet.train", "gpunet.fused", "gpunet.study"} & loaded
    assert loaded & LATER == set()


def test_how_long_it_takes(tmp_path: Path) -> None:
    """At most 50 ms more than `import numpy`, or half of that where numpy itself takes long.

    The least of several runs, in processor time: other programs only add to it.
    """
    python(LOADED, tmp_path)
    runs = [[float(text) for text in python(TIMED, tmp_path)] for _ in range(7)]
    numpy_takes, gpunet_takes = (min(column) for column in zip(*runs, strict=True))
    assert gpunet_takes <= max(0.050, 0.5 * numpy_takes), (numpy_takes, gpunet_takes)

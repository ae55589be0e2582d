"""`import gpunet`: what it loads, and how long it takes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import gpunet
import gpunet.study

# Each is loaded when it is used: CuPy by a GPU, safetensors by a file, numpy.random by a layer.
LATER = {
    *("cupy", "cupyx", "cuda", "matplotlib", "safetensors", "tqdm", "click", "PIL", "sklearn"),
    *("numpy.random", "threadpoolctl", "concurrent.futures", "hashlib", "html", "shutil"),
}

PACKAGES = ("data", "optim", "study", "train")  # `gn.data`, but not of `from gpunet import *`
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
    assert "gpunet.optim" in loaded  # it did import
    assert not {"gpunet.layers", "gpunet.train", "gpunet.fused", "gpunet.study"} & loaded
    assert loaded & LATER == set()


def test_how_long_it_takes(tmp_path: Path) -> None:
    """At most 50 ms more than `import numpy`, or half of that where numpy itself takes long.

    The least of several runs, in processor time: other programs only add to it.
    """
    python(LOADED, tmp_path)
    runs = [[float(text) for text in python(TIMED, tmp_path)] for _ in range(7)]
    numpy_takes, gpunet_takes = (min(column) for column in zip(*runs, strict=True))
    assert gpunet_takes <= max(0.050, 0.5 * numpy_takes), (numpy_takes, gpunet_takes)


@pytest.mark.parametrize("package", [gpunet, gpunet.study], ids=lambda p: p.__name__)
def test_every_name_is_there_and_in_what_editors_read(package: Any) -> None:
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text("utf-8"))
    read = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    named = [alias.asname for node in read for alias in node.names if alias.name != "*"]
    stars = [node.module for node in read if node.names[0].name == "*"]
    for module in stars:
        named += import_module(module).__all__
    named = [name for name in named if name not in PACKAGES]
    assert sorted(named) == sorted(package.__all__)
    assert len(set(named)) == len(named)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'x'"):
        package.x  # noqa: B018


def test_names_are_there_before_anything_is_loaded(tmp_path: Path) -> None:
    names = "import gpunet; print({'MLP', 'functional', 'data', 'study', 'train'} - {*dir(gpunet)})"
    assert python(names, tmp_path) == ["set()"]
    code = "import gpunet; print('MLP' in dir(gpunet), gpunet.layers.__name__, gpunet.MLP.__name__)"
    assert python(code, tmp_path) == ["True", "gpunet.layers", "MLP"]
    assert python("from gpunet import *; print(Trainer.__name__)", tmp_path) == ["Trainer"]

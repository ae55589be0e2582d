"""gpunet.lock, and all that must start on a machine with a GPU that has little else installed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gpunet.lock import RLock

ROOT = Path(__file__).resolve().parent.parent
# Of the installed packages only these, and what they need, are seen: CuPy 14 brings no fastrlock.
SEEN = ("gpunet", "numpy", "cupy", "cuda", "nvidia", "safetensors", "click", "tqdm", "coverage")
SEEN += ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli")
HIDING = f"""
import importlib.metadata, sys

class Hidden:
    names = {{
        module
        for module, packages in importlib.metadata.packages_distributions().items()
        if not any(package.lower().startswith({SEEN!r}) for package in packages)
    }}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

assert "fastrlock" in Hidden.names
sys.meta_path.insert(0, Hidden())
"""


def test_it_may_be_taken_again_by_the_thread_that_has_it() -> None:
    lock = RLock()
    with lock, lock:
        other = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
        taken: list[bool] = []
        other.start()
        other.join()
    assert taken == [False]


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has only what a machine with CuPy 14 may have."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    path = os.pathsep.join(filter(None, [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.mark.parametrize("code", ["import gpunet; gpunet.Trainer; gpunet.MLP([2, 2])"])
def test_gpunet_is_imported(bare: dict[str, str], code: str) -> None:
    done = python(bare, "-c", f"{code}\nimport fastrlock")
    assert done.stderr.strip().endswith("ModuleNotFoundError: No module named 'fastrlock'")
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert 'File "<string>", line 2' in done.stderr, done.stderr  # all before it was well


@pytest.mark.parametrize("module", ["verify_gpu", "gpu.__main__"])
def test_a_benchmark_is_imported(bare: dict[str, str], module: str) -> None:
    done = python(bare, "-c", f"import benchmarks.{module}")
    assert done.returncode == 0, done.stderr


def test_the_suite_is_collected_and_its_tests_have_the_same_names_in_each_process(
    bare: dict[str, str],
) -> None:
    """As pytest-xdist wants it: no address and no time in a name."""
    options = ("-p", "benchmarks.on_device", "-p", "no:cacheprovider", "--collect-only")
    found = []
    for seed in ("1", "2"):
        done = python(bare | {"PYTHONHASHSEED": seed}, "-m", "pytest", *options, "tests")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        found.append([line for line in done.stdout.splitlines() if "::" in line])
    assert any(line.startswith("tests/gpu/test_parity.py::") for line in found[0])
    assert found[0] == found[1]


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

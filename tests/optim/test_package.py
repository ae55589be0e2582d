"""gpunet.optim: a new optimizer is two files, and all that lists optimizers finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet as gn
from gpunet.source import kernel_dir

PYTHON = '''
"""Signum: the sign of an average gradient."""

import numpy as np

from gpunet.optim.base import Optimizer, Rate


class Signum(Optimizer):
    """Signum (Bernstein et al. 2018)."""

    lr: Rate = 1e-3
    momentum: float = 0.9

    @staticmethod
    def reference(grad, lr, momentum, param, average):
        average *= momentum
        average += (1 - momentum) * grad
        param -= lr * np.sign(average)
'''
USE = """
import gpunet as gn
assert list(gn.OPTIMIZERS)[-1] == "signum" and "Signum" in gn.__all__, list(gn.OPTIMIZERS)
from gpunet.optim import Signum
assert gn.Signum is Signum is gn.OPTIMIZERS["signum"]

from click.testing import CliRunner
from gpunet.cli import cli
train = ["train", "digits", "--optimizer", "signum", "--epochs", "1", "--hidden", "8"]
result = CliRunner().invoke(cli, [*train, "--out", OUT])
assert result.exit_code == 0, result.output
result = CliRunner().invoke(cli, ["landscape", "bowl", "--optimizers", "signum", "--out", OUT])
assert result.exit_code == 0, result.output

from gpunet.study import styles
from gpunet.study.compare.grid import default_grid
assert len(default_grid("signum")) > 3
assert styles.style("signum").label == "Signum"

from gpunet.testing import compile_gate
assert "optim/signum" in compile_gate.kernels()
"""


def test_a_new_optimizer_is_two_files(tmp_path: Path) -> None:
    package, kernels = tmp_path / "gpunet", tmp_path / "kernels"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(gn.__file__).parent, package, ignore=ignore)
    shutil.copytree(kernel_dir(), kernels)
    examples = Path(__file__).resolve().parents[2] / "examples"
    shutil.copy(examples / "signum.cu", kernels / "optim")
    (package / "optim" / "signum.py").write_text(PYTHON)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = f"OUT = {str(tmp_path / 'out')!r}{USE}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("kind", gn.OPTIMIZERS.values(), ids=lambda kind: kind.__name__)
def test_a_file_stays_short(kind: type[gn.Optimizer]) -> None:
    file = Path(sys.modules[kind.__module__].__file__ or "")
    assert len(file.read_text("utf-8").splitlines()) <= 50

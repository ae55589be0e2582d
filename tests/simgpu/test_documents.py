"""What docs/testing.md and the README show about the simulated GPU is true."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpunet.testing import simgpu

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE = (ROOT / "docs" / "testing.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
pytestmark = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def run(code: str) -> list[str]:
    """The lines that the code prints."""
    printed = io.StringIO()
    scope: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        exec(code, scope)
    return printed.getvalue().splitlines()


def test_the_guides_blocks_print_what_their_comments_say() -> None:
    blocks = code_blocks(GUIDE)
    assert blocks
    for block in blocks:
        promised = re.findall(r"^ *print\(.*\) +# ([\d. ]+)$", block, re.M)
        assert promised
        assert run(block)[: len(promised)] == promised


def test_a_wrong_comment_would_be_seen() -> None:
    assert run("print(1)  # 2") != ["2"]


def test_the_guide_counts_what_it_says_it_counts() -> None:
    with simgpu.activate() as cp:
        x = cp.arange(6, dtype=cp.float32)
        with simgpu.count() as used:
            float(x.sum())
    assert (used.d2h_copies, used.synchronisations) == (1, 1)


def test_the_readmes_kernel_test_passes_and_can_fail(tmp_path: Path) -> None:
    (block,) = code_blocks(section(README, "Testing GPU code without a GPU"))
    assert len(block.splitlines()) <= 10
    (tmp_path / "test_right.py").write_text(block)
    wrong = block.replace("x : slope * x", "x : slope + x")
    assert wrong != block
    (tmp_path / "test_wrong.py").write_text(wrong)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    plugin = ["-p", "no:cacheprovider", "-p", "gpunet.testing.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", *plugin],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outcomes = dict(re.findall(r"^(\S+)::\S+ ([A-Z]+)", done.stdout, re.M))
    assert outcomes == {"test_right.py": "PASSED", "test_wrong.py": "FAILED"}, done.stdout

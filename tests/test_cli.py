"""gpunet.cli: help, versions, and how a mistake or a fault ends."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import gpunet as gn
from gpunet import machine
from tests.console import Run, assert_one_line, process

# Help and info


def test_gpunet_alone_prints_its_help(gpunet: Run) -> None:
    alone, asked = gpunet(), gpunet("--help")
    assert alone.code == asked.code == 0
    assert alone.err == asked.err == ""
    assert alone.out == asked.out == gpunet("-h").out
    assert "Usage: gpunet [OPTIONS]" in alone.out
    for name in ("train", "compare", "landscape", "study", "info"):
        assert re.search(rf"\n  {name} +[A-Z]", alone.out)


def test_version(gpunet: Run) -> None:
    result = gpunet("--version")
    assert (result.code, result.out) == (0, f"gpunet, version {gn.__version__}\n")


def test_info(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "report", lambda: "what there is")
    result = gpunet("info")
    assert (result.code, result.out, result.err) == (0, "what there is\n", "")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_reader_who_leaves_early(tmp_path: Path) -> None:
    """`gpunet info | head -0` is no reason for a traceback."""
    with process("info", cwd=tmp_path) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        err = running.stderr.read()
    assert (running.returncode, err) == (1, "")


def test_a_fault_of_gpunets_own_is_not_hidden(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError("a bug")

    monkeypatch.setattr(machine, "report", fail)
    with pytest.raises(KeyError):
        gpunet("info")


def test_a_mistake_is_one_line(gpunet: Run) -> None:
    assert_one_line(gpunet("trian"), "No such command 'trian'")
    assert_one_line(gpunet("info", "more"), "unexpected extra argument")

"""gpunet.cli: help, versions, and how a mistake or a fault ends."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet as gn
from gpunet import cxx, machine
from gpunet.optim import native
from tests.console import Result, Run, assert_one_line, process

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


def test_a_command_loads_when_it_is_asked_for() -> None:
    code = "import gpunet.cli, sys; print(*(n for n in sys.modules if n.startswith('gpunet.')))"
    place = os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    loaded = set(subprocess.run(command, capture_output=True, text=True, env=place).stdout.split())
    assert "gpunet.cli" in loaded
    assert not {"gpunet.train", "gpunet.bench", "gpunet.commands.compare"} & loaded


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


# Streams that take nothing


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])} | variables
    words = command.replace("gpunet", f"{shlex.quote(sys.executable)} -m gpunet", 1)
    return subprocess.run(["sh", "-c", words], cwd=folder, capture_output=True, env=environment)


SMALL = "gpunet study batchnorm --out out"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["gpunet info", "gpunet --help", SMALL])
def test_stdout_is_full(command: str, tmp_path: Path) -> None:
    done = shell(f"{command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (2, b"gpunet: cannot write: No space left on device\n")


@pytest.mark.skipif(os.name == "nt", reason="shells of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams(closed: str, tmp_path: Path) -> None:
    done = shell(f"{SMALL} {closed}", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "batchnorm.svg").read_bytes().endswith(b"</svg>")


def test_what_a_terminal_cannot_show(tmp_path: Path) -> None:
    """A name of any bytes moves no cursor and ends no command."""
    for name in ("학습", "\x1b[31m\n", os.fsdecode(b"\xc7\xd0")):
        words = f"gpunet study batchnorm --rows 2 --out {shlex.quote(name)}"
        done = shell(words, tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\x1b" not in done.stdout
        assert b"written to " in done.stdout.splitlines()[-1]
    done = shell("gpunet train '\x1b[31m학.csv'", tmp_path)
    assert_one_line(Result(done.returncode, "", done.stderr.decode()), r"\\x1b\[31m학")


def test_kernels_that_are_not_there(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    native.choice.cache_clear()
    monkeypatch.setenv(native.VARIABLE, "fast")
    assert_one_line(gpunet("landscape", "bowl", "--no-pictures"), "KERNELS is 'fast'; leave it")
    monkeypatch.setenv(native.VARIABLE, "native")
    monkeypatch.setattr(cxx, "available", lambda: (False, "g++ is not on PATH"))
    for name in ("sgd", "adam"):  # else a loop of an earlier test is there
        monkeypatch.setattr(gn.OPTIMIZERS[name].kernel, "_built", {})
    for words in (["landscape", "bowl", "--no-pictures"], ["train", "--hidden", "4"]):
        assert_one_line(gpunet(*words), "native needs a compiler: g")
    monkeypatch.undo()
    native.choice.cache_clear()

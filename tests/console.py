"""The console command as a user calls it: in this process, or in one of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import gpunet as gn
from gpunet import cli


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def gpunet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`gpunet ...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["gpunet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return Result(int(caught.value.code or 0), out, err)

    return run


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """As in a terminal: a shell's background job (`pytest &`) starts with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def process(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """`python -m gpunet ...` in another process."""
    environment = {
        "PYTHONPATH": str(Path(gn.__file__).parents[1]),
        "OPENBLAS_NUM_THREADS": "1",  # small matrices; other tests may run beside
    }

    def listen() -> None:  # a background job would pass on that Ctrl-C is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "gpunet", *map(str, arguments)],
        preexec_fn=None if os.name == "nt" else listen,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
    )


def assert_one_line(result: Result, words: str) -> None:
    """A mistake: status 2, and one line on stderr in which `words` (a pattern) stand."""
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert result.err.startswith("gpunet: ")
    assert re.search(words, result.err), result.err

"""gpunet.starting: Ctrl-C before the command has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet
from gpunet import starting

# As `gpunet` and `python -m gpunet` start, with a Ctrl-C that comes while NumPy is imported.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Press())
sys.orig_argv, sys.argv = {orig}, {argv}
import gpunet
"""
COMMANDS = {
    "script": (["python", "/usr/bin/gpunet", "info"], ["/usr/bin/gpunet", "info"]),
    "module": (["python", "-W", "error", "-m", "gpunet", "info"], ["-m", "info"]),
}


def start(orig: list[str], argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START.format(orig=orig, argv=argv)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(gpunet.__file__).parents[1])},
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_ends_in_one_line(name: str) -> None:
    done = start(*COMMANDS[name])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "gpunet: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_program_of_the_users_own_is_interrupted_as_usual() -> None:
    done = start(["python", "mine.py", "-m", "gpunet"], ["mine.py", "-m", "gpunet"])
    assert "KeyboardInterrupt" in done.stderr


def test_ready(ctrl_c: None) -> None:
    signal.signal(signal.SIGINT, starting._end)
    starting.ready()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    starting.ready()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN

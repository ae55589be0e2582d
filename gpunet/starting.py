"""A Ctrl-C while the command `gpunet` still loads NumPy and the rest ends it in one line.

`import gpunet` comes before the first line of the command: there is no other place to ask it. In a
program of the user's own nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType


def is_command() -> bool:
    """Whether this process was started as `gpunet ...` or `python -m gpunet ...`."""
    words = sys.orig_argv
    if "-m" in words[1:] and words[words.index("-m") + 1 :][:1] == ["gpunet"]:
        return sys.argv[:1] == ["-m"]  # while the package is loaded
    name = os.path.basename(sys.argv[0] if sys.argv else "")
    return name.lower() in ("gpunet", "gpunet.exe", "gpunet-script.py")


def end_in_one_line() -> None:
    """Until `ready`: a Ctrl-C may hit C code, which would make an error of its own of it."""
    if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, _end)


def ready() -> None:
    """The command has begun: Ctrl-C is an exception again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"gpunet: interrupted\n")
    os._exit(130)

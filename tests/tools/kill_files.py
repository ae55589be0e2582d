"""Kills at every file operation of a run: `python -m tests.tools.kill_files` tries the commands.

A child process (a fork) does the work, and ends, as by kill -9, just before its k-th operation on
files; for k = 1, 2, ... until it gets through. Before a kill at an fsync the file loses half of
what was written: the system had not yet put it on the disk.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

EVENTS = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod",
    "os.chown", "os.truncate", "open",
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Kill(NamedTuple):
    """What the k-th operation was to be, and whether the child got past all of them."""

    number: int
    operation: str
    finished: bool


def kills(work: Callable[[], Any], below: Path, step: int = 1) -> Iterator[Kill]:
    """Do `work` again and again, each time ended a little later: look at what is left after each.

    below: operations elsewhere do not count.
    """
    number = 1
    while True:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _work(work, os.fspath(below), number, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 9):
            raise RuntimeError(f"the work failed by itself, with status {code}: {said}")
        yield Kill(number, said, code == 0)
        if code == 0:
            return
        number += step


def _work(work: Callable[[], Any], below: str, number: int, writer: int) -> None:
    """In the child: it does not come back."""
    count = 0

    def operation(name: str, path: str, before: Callable[[], Any] = lambda: None) -> None:
        nonlocal count
        if not os.path.abspath(path).startswith(below):
            return
        count += 1
        if count == number:
            count += 10**9  # what follows is no operation of the run
            before()
            os.write(writer, f"{name} {os.path.basename(path)}".encode())
            os._exit(9)

    def hook(event: str, arguments: Any) -> None:
        if event not in EVENTS or not isinstance(arguments[0], (str, bytes, os.PathLike)):
            return
        if event == "open" and not (arguments[2] or 0) & WRITES:
            return
        operation(event, os.fsdecode(arguments[0]))

    fsync = os.fsync

    def watched(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        half = os.fstat(handle).st_size // 2
        operation("fsync", path, lambda: os.path.isfile(path) and os.ftruncate(handle, half))
        fsync(handle)

    os.fsync = watched
    sys.addaudithook(hook)
    try:
        work()
    except BaseException as error:
        os.write(writer, repr(error).encode())
        os._exit(3)
    os._exit(0)


def files(folder: Path) -> dict[str, bytes]:
    """What a reader of the folder finds: the content of every file with a plain name."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return {e.name: e.read_bytes() for e in entries if e.is_file() and e.name[0] != "."}


# The commands


def command(*arguments: object) -> None:
    """`gpunet ...` in this process, by a clock that runs the same each time."""
    from gpunet import cli

    ticks = iter(range(10**9))
    time.perf_counter = lambda: float(next(ticks))
    sys.argv = ["gpunet", *map(str, arguments)]
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"status {end.code}") from None


def whole(old: Callable[[], Any], new: Callable[[], Any], out: Path, step: int = 1) -> list[str]:
    """Kill `new` at every operation on a folder with the files of `old`: what is neither set.

    After each kill the next run has to work, and leave nothing but its files.
    """
    sets = []
    for work in (old, new):
        *_, last = kills(work, out.parent / "nowhere")
        assert last.finished
        sets.append(files(out))
    before = tempfile.mkdtemp()
    wrong, done = [], 0
    for start in (True, False):  # over an earlier run's files, and in an empty folder
        shutil.rmtree(out)
        if start:
            list(kills(old, out.parent / "nowhere"))
        shutil.rmtree(before)
        shutil.copytree(out, before) if start else os.mkdir(before)
        for kill in kills(new, out, step):
            done += 1
            if files(out) not in ((sets[0] if start else {}), sets[1]):
                wrong.append(f"{kill.number}: {kill.operation}: {sorted(files(out))}")
            if kill.number % 5 == 1:
                list(kills(new, out.parent / "nowhere"))
                left = sorted(entry.name for entry in out.iterdir() if entry.is_file())
                if files(out) != sets[1] or left != sorted(sets[1]):
                    wrong.append(f"{kill.number}: the next run left {left}")
            shutil.rmtree(out)
            shutil.copytree(before, out)
    print(f"{done} kills, {len(wrong)} left a mixed set", *wrong, sep="\n  ")
    return wrong


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    out = Path("out").absolute()
    short = ["--epochs", 1, "--hidden", 4, "--device", "cpu", "--out", out]
    grid = ["--optimizers", "sgd", "--lr-grid", "0.1", "--jobs", 1, "--seeds", 1]
    walk = ["landscape", "bowl", "--optimizers", "sgd,adam", "--out", out]
    trials = {
        "train": [["train", *short, "--seed", seed] for seed in (1, 2)],
        "landscape": [[*walk, "--steps", steps] for steps in (2, 3)],
        "study batchnorm": [["study", "batchnorm", "--seed", s, "--out", out] for s in (1, 2)],
        "compare": [["compare", *short, *grid, "--epochs", epochs] for epochs in (1, 2)],
    }
    chosen = sys.argv[1:] or list(trials)
    failed = False
    for name in chosen:
        shutil.rmtree(out, ignore_errors=True)
        old, new = trials[name]
        print(f"{name}: ", end="", flush=True)
        failed |= bool(whole(lambda old=old: command(*old), lambda new=new: command(*new), out))
    sys.exit(failed)


if __name__ == "__main__":
    main()

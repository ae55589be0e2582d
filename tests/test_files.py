"""gpunet.files: the old file or the new one, never half of either."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import gpunet
from gpunet import files
from gpunet.files import write_atomically

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions, links and signals")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_and_replace(tmp_path: Path) -> None:
    target = tmp_path / "a file"
    for data in (b"one", b"", b"three" * 100_000):
        write_atomically(target, data)
        assert target.read_bytes() == data
    write_atomically(str(target), b"by name")
    assert target.read_bytes() == b"by name"
    assert names(tmp_path) == ["a file"]


def test_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("here", b"x")
    assert names(tmp_path) == ["here"]


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_ctrl_c_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_bytes(b"kept")
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["inside"]
    (tmp_path / "file").write_bytes(b"kept")
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "file" / "below", b"x")


@posix
def test_permissions(tmp_path: Path) -> None:
    target = tmp_path / "file"
    old = os.umask(0o027)
    try:
        write_atomically(target, b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    target.chmod(0o600)
    write_atomically(target, b"y")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@posix
def test_a_private_file_is_private_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(0o600)
    modes = []
    true = os.fsync

    def look(handle: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(handle).st_mode))
        true(handle)

    monkeypatch.setattr(os, "fsync", look)
    write_atomically(target, b"new")
    assert modes[0] == 0o600
    assert len(modes) == 2  # the file, then its folder


def test_what_can_be_made_again_is_not_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise AssertionError("forced")

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "file", b"new", durable=False)
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"new"]
    with pytest.raises(AssertionError):
        write_atomically(tmp_path / "file", b"newer")
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"new"]


@posix
def test_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    ours = [".file.0123abcd.gpunet-tmp", ".other.89abcdef.gpunet-tmp", ".file.1-0.tmp"]
    ours[2] = f".file.{os.getpid()}-0.tmp"  # what process 1 of another container left
    theirs = [".file.tmp", ".file.12.tmp", f".another.{os.getpid()}-0.tmp", ".0123abcd.gpunet-tmp"]
    for name in ours + theirs:
        (tmp_path / name).write_bytes(b"")
    write_atomically(tmp_path / "file", b"x")
    assert names(tmp_path) == sorted(["file", *theirs])


@posix
def test_what_another_process_is_writing_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = os.fsync

    def meanwhile(handle: int) -> None:
        true(handle)
        monkeypatch.setattr(os, "fsync", true)
        write_atomically(tmp_path / "other", b"y")  # which sweeps

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomically(tmp_path / "file", b"x")
    assert names(tmp_path) == ["file", "other"]


def test_names_of_many_bytes(tmp_path: Path) -> None:
    for name in ("학" * 85, "🙂" * 63, "a\nb\x1b[31m$"):
        write_atomically(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


@posix
def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    for data in (b"new", b"newer"):
        write_atomically(tmp_path / "link", data)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "far" / "file").read_bytes() == data
    assert names(tmp_path / "far") == ["file"]


@posix
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root, taking the place of /dev/null would break the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"through")
    reader.join(10)
    assert found == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_many_threads_at_once(tmp_path: Path) -> None:
    target = tmp_path / "file"
    data = [bytes([k]) * 200_000 for k in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(target, d)) for d in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() in data
    assert names(tmp_path) == ["file"]


WRITER = """
import sys
from gpunet.files import write_atomically
turn = 0
while True:
    turn = (turn + 1) % 250
    write_atomically(sys.argv[1], bytes([turn]) * 4_000_000)
    print(turn, flush=True)
"""


@posix
def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"\xff" * 4_000_000)
    for wait in (0.0, 0.004, 0.011):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(gpunet.__file__).parents[1])},
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        data = target.read_bytes()
        assert len(data) == 4_000_000
        assert data == data[:1] * len(data)
        assert data[:1] != b"\xff"

"""gpunet.outputs: a set of files as a whole, whatever happens in between."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpunet
from gpunet.outputs import NEW, NOW, OLD, Busy, Outputs
from tests.tools.kill_files import files, kills

NAMES = ["model", "history", "picture"]
FIRST = {"model": b"1" * 999, "history": b"one", "picture": b"drawn"}
SECOND = {"model": b"2" * 99, "history": b""}  # no picture this time
posix = pytest.mark.skipif(os.name == "nt", reason="links and forks of POSIX")


def write(folder: Path, found: dict[str, bytes]) -> None:
    with Outputs(folder, NAMES) as out:
        for name, data in found.items():
            out.stage(name, data)
        out.commit()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_set_after_another(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    for found in (FIRST, SECOND, FIRST, {"history": b"alone"}):
        write(out, found)
        assert files(out) == found
        assert names(out) == sorted(found)
        assert not any(path.is_symlink() for path in out.iterdir())


def test_what_is_not_of_the_set_stays(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    (tmp_path / "notes").write_bytes(b"the user's")
    (tmp_path / "runs").mkdir()
    (tmp_path / "link").symlink_to("notes")
    write(tmp_path, SECOND)
    assert files(tmp_path) == SECOND | {"notes": b"the user's", "link": b"the user's"}
    assert names(tmp_path) == ["history", "link", "model", "notes", "runs"]


def test_nothing_staged_is_nothing_changed(tmp_path: Path) -> None:
    write(tmp_path, FIRST)
    write(tmp_path, {})
    with Outputs(tmp_path, NAMES) as out:
        out.stage("model", b"never committed")
    assert files(tmp_path) == FIRST
    assert names(tmp_path) == sorted(FIRST)
    with Outputs(tmp_path, NAMES) as out, pytest.raises(ValueError, match="other is none of model"):
        out.stage("other", b"")


@posix
@pytest.mark.parametrize(("start", "step"), [(FIRST, 1), ({}, 3)])
def test_killed_at_any_operation(start: dict[str, bytes], step: int, tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []
    out.mkdir()
    write(out, start)
    for kill in kills(lambda: write(out, SECOND), out, step):
        assert files(out) in (start, SECOND), kill
        seen.append(files(out) == SECOND)
        write(out, FIRST)
        assert names(out) == sorted(FIRST), kill
        if not start:
            shutil.rmtree(out)
    assert len(seen) > 30 / step
    assert seen == sorted(seen)  # there is one moment of the change
    assert 5 / step < sum(seen) < len(seen) - 5 / step


@posix
def test_killed_while_a_killed_run_is_settled(tmp_path: Path) -> None:
    for stop in (20, 30, 36):
        write(tmp_path, FIRST)
        for kill in kills(lambda: write(tmp_path, SECOND), tmp_path):
            if kill.finished or kill.number == stop:
                break
        shown = files(tmp_path)
        for _ in kills(lambda: write(tmp_path, {}), tmp_path, 2):
            assert files(tmp_path) == shown
        assert names(tmp_path) == sorted(shown)


@pytest.mark.parametrize("broken", ["link", "symlink"])
def test_without_links(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EPERM, "this drive has none")

    monkeypatch.setattr(os, broken, refuse)
    for found in (FIRST, SECOND, FIRST):
        write(tmp_path, found)
        assert files(tmp_path) == found
        assert names(tmp_path) == sorted(found)


@posix
@pytest.mark.parametrize("at", ["fsync", "replace", "symlink", "mkdir"])
def test_a_failure_leaves_the_old_set(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, FIRST)
    true, left = getattr(os, at), 0

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return true(*arguments, **options)

    for stop in range(1, 4):
        left = stop
        with monkeypatch.context() as patch:
            patch.setattr(os, at, fail)
            try:
                write(tmp_path, SECOND)
            except KeyboardInterrupt:
                assert files(tmp_path) in (FIRST, SECOND)
        write(tmp_path, {})
        assert files(tmp_path) in (FIRST, SECOND)
        assert names(tmp_path) == sorted(files(tmp_path))
        write(tmp_path, FIRST)


@posix
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.write_bytes(b"")
    out = tmp_path / "out"
    write(out, FIRST)
    (out / "model").chmod(0o600)
    (out / "history").unlink()
    (out / "history").symlink_to(far)
    (out / "picture").unlink()
    (out / "picture").symlink_to(os.devnull)
    write(out, FIRST)
    assert stat.S_IMODE((out / "model").stat().st_mode) == 0o600
    assert (out / "history").is_symlink()
    assert far.read_bytes() == b"one"
    assert stat.S_ISCHR(os.stat(out / "picture").st_mode)
    write(out, {"model": b""})
    assert files(out) == {"model": b""}


HOLDER = """
import sys
from pathlib import Path
from gpunet.outputs import Outputs
with Outputs(Path(sys.argv[1]), ["model"]) as out:
    print("here", flush=True)
    sys.stdin.read()
"""


@posix
def test_a_folder_is_one_runs_alone(tmp_path: Path) -> None:
    with Outputs(tmp_path, NAMES), pytest.raises(Busy, match="another run is writing there: wait"):
        write(tmp_path, FIRST)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(gpunet.__file__).parents[1])},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        with pytest.raises(Busy):
            write(tmp_path, FIRST)
        process.kill()
        process.wait()
        write(tmp_path, FIRST)
    assert names(tmp_path) == sorted(FIRST)


def test_what_cannot_be_written_is_told_on_entering(tmp_path: Path) -> None:
    (tmp_path / "picture").mkdir()
    with pytest.raises(IsADirectoryError, match="picture is a folder"):
        write(tmp_path, FIRST)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"directory|exists"):
        write(tmp_path / "file" / "x", FIRST)
    if hasattr(os, "posix_fallocate"):
        with pytest.raises(OSError), Outputs(tmp_path / "new", NAMES, size=2**60):  # noqa: PT011
            pass
        write(tmp_path / "new", FIRST)  # it is not held


def test_rescue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Outputs(tmp_path / "runs" / "out", NAMES) as out:
        assert out.rescue("model", b"saved") == tmp_path / "runs" / "out-model"
    assert (tmp_path / "runs" / "out-model").read_bytes() == b"saved"

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert out.rescue("model", b"saved") is None


def test_names_of_the_links_are_hidden() -> None:
    assert all(name.startswith(".gpunet-") for name in (NOW, OLD, NEW))

"""gpunet.cxx: a text is compiled once, kept in a folder of this user's alone, and built again where
the file is damaged.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpunet import cxx

pytestmark = pytest.mark.skipif(not cxx.available()[0], reason=cxx.available()[1])
needs_modes = pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")


def answer(value: int) -> str:
    return f'extern "C" int answer() {{ return {value}; }}'


def script(value: int) -> str:
    text = answer(value)
    return f"from gpunet import cxx; print(cxx.compile_shared({text!r}, name='a').answer())"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(cxx.CACHE, str(tmp_path))
    cxx.cache_folder.cache_clear()
    yield tmp_path / "cxx"
    cxx.cache_folder.cache_clear()


def built(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def asked(value: int, cache: Path) -> int:
    """What the library answers in a process of its own: this one keeps what it has loaded."""
    code = (
        f"from gpunet import cxx; print(cxx.compile_shared({answer(value)!r}, name='a').answer())"
    )
    run = (sys.executable, "-c", code)
    environment = {"GPUNET_CACHE": str(cache), "PATH": "/usr/bin:/bin"}
    return int(subprocess.run(run, env=environment, capture_output=True, check=True).stdout)


def test_a_text_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cxx.compile_shared(answer(1), name="a b/c")
    assert first.answer() == 1
    assert [path.name[:6] for path in built(folder)] == ["a_b_c-"]
    monkeypatch.setattr(cxx, "_build", None)
    assert cxx.compile_shared(answer(1), name="a b/c") is first


@pytest.mark.parametrize("change", ["text", "flags", "compiler", "header"])
def test_all_that_goes_in_is_in_the_name(
    change: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = folder.parent / "part.h"
    header.write_text("")
    first = cxx.build(answer(1), name="a", flags=("-shared",), headers=[header])
    text, flags = answer(1), ["-shared"]
    if change == "text":
        text = answer(2)
    elif change == "flags":
        flags.append("-DX")
    elif change == "compiler":
        monkeypatch.setattr(cxx, "compiler_version", lambda: "another")
    else:
        header.write_text("// changed")
    assert cxx.build(text, name="a", flags=flags, headers=[header]) != first


@pytest.mark.parametrize("damage", [b"", b"not a library"])
def test_a_damaged_file_is_built_again(damage: bytes, folder: Path) -> None:
    assert asked(3, folder.parent) == 3
    (library,) = built(folder)
    library.write_bytes(damage)
    assert asked(3, folder.parent) == 3
    assert len(library.read_bytes()) > 1000


def test_processes_share_the_folder(folder: Path) -> None:
    run = (sys.executable, "-c", script(4))
    running = [subprocess.Popen(run, stdout=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate()[0] for process in running] == [b"4\n"] * 4
    assert len(built(folder)) == 1
    assert not list(folder.glob("build-*"))


@needs_modes
def test_the_folder_is_private(folder: Path) -> None:
    assert cxx.cache_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@needs_modes
@pytest.mark.parametrize("open_to", [0o755, 0o720, 0o707])
def test_a_folder_that_others_may_enter_is_not_used(open_to: int, folder: Path) -> None:
    folder.mkdir()
    folder.chmod(open_to)
    assert cxx.cache_folder() != folder
    assert cxx.is_private(cxx.cache_folder())


@needs_modes
def test_a_link_is_not_used(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert cxx.cache_folder() != folder


def test_the_folder_is_absolute(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cxx.CACHE, "relative")
    assert cxx.cache_folder() == tmp_path / "relative" / "cxx"
    cxx.cache_folder.cache_clear()
    monkeypatch.delenv(cxx.CACHE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cxx.cache_folder() == tmp_path / "xdg" / "gpunet" / "cxx"
    cxx.cache_folder.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # not valid, says the standard
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cxx.cache_folder() == tmp_path / "home" / ".cache" / "gpunet" / "cxx"


def test_where_no_folder_can_be_made_a_temporary_one_serves(folder: Path) -> None:
    folder.write_text("a file in the way")
    library = cxx.compile_shared(answer(5), name="a")
    assert library.answer() == 5
    assert asked(6, folder.parent) == 6


def test_an_error_is_the_compilers_with_the_texts_own_lines(folder: Path) -> None:
    with pytest.raises(cxx.CompileError, match=r"mine\.cu:7:.*missing"):
        cxx.compile_shared('#line 7 "mine.cu"\nint a = missing;', name="a")
    with pytest.raises(cxx.CompileError, match="nowhere"):
        cxx.compile_shared("void nowhere(); void f() { nowhere(); }", name="a")
    assert built(folder) == []


def test_without_a_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cxx, "CXX", "no-such-compiler")
    cxx.compiler_version.cache_clear()
    assert cxx.available()[0] is False
    assert "no-such-compiler" in cxx.available()[1]
    with pytest.raises(cxx.CompileError, match="no-such-compiler is not on PATH"):
        cxx.compile_shared(answer(1), name="a")
    cxx.compiler_version.cache_clear()

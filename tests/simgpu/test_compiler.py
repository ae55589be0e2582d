"""The g++ driver: one compilation for one text, kept on disk, with messages that name the line."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import compiler
from gpunet.testing.simgpu.compiler import CompileException, compile_shared

pytestmark = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty cache for the test."""
    monkeypatch.setenv("GPUNET_SIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_loaded", {})
    compiler.cache_folder.cache_clear()
    yield compiler.cache_folder()
    compiler.cache_folder.cache_clear()


def answer(value: int) -> str:
    return f'extern "C" int answer() {{ return {value}; }}'


def libraries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.so"))


def test_one_text_is_compiled_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_shared(answer(42), name="a kernel").answer() == 42
    assert len(libraries(folder)) == 1
    assert libraries(folder)[0].startswith("a_kernel-")
    monkeypatch.setattr(compiler, "_build", lambda *_: pytest.fail("compiled twice"))
    assert compile_shared(answer(42), name="a kernel").answer() == 42
    monkeypatch.setattr(compiler, "_loaded", {})  # as in another process
    assert compile_shared(answer(42), name="a kernel").answer() == 42
    with pytest.raises(pytest.fail.Exception):
        compile_shared(answer(43), name="a kernel")
    with pytest.raises(pytest.fail.Exception):
        compile_shared(answer(42), name="a kernel", flags=["-O1"])


def test_the_headers_are_part_of_the_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_shared(answer(1), name="k")
    monkeypatch.setattr(compiler, "_headers_hash", lambda: "another elementwise.h")
    compile_shared(answer(1), name="k")
    assert len(libraries(folder)) == 2


def test_the_header_is_precompiled_for_each_set_of_flags(folder: Path) -> None:
    text = '#include "elementwise.h"\n' + answer(7)
    assert compile_shared(text, name="k").answer() == 7
    assert len(list(folder.glob("headers-*/elementwise.h.gch"))) == 1
    assert compile_shared(text, name="k", flags=["-DX=1"]).answer() == 7
    assert len(list(folder.glob("headers-*/elementwise.h.gch"))) == 2


def test_nothing_is_left_behind(folder: Path) -> None:
    compile_shared(answer(1), name="k")
    with pytest.raises(CompileException):
        compile_shared("nonsense", name="k")
    assert not list(folder.glob("build-*"))
    assert len(libraries(folder)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\nextern "C" int f() { return g(); }', r"k\.cpp:2:\d+: error: .*'g'"),
        ('#line 12 "adam.cu"\nint f() { return x; }', r"adam\.cu:12:\d+: error: .*'x'"),
        ('int g(); extern "C" int f() { return g(); }', r"undefined reference to `g\(\)'"),
    ],
)
def test_a_failure_shows_the_compilers_message(folder: Path, text: str, message: str) -> None:
    with pytest.raises(CompileException, match=message) as caught:
        compile_shared(text, name="k")
    error = caught.value
    assert (error.source, error.name) == (text, "k")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    dump = io.StringIO()
    error.dump(dump)
    assert "    1 " in dump.getvalue()
    assert error.get_message() in dump.getvalue()


def test_a_compiler_that_hangs_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "TIMEOUT_SECONDS", 0.001)
    with pytest.raises(CompileException, match="took longer"):
        compile_shared(answer(5), name="k")


def test_without_a_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "CXX", "no-such-compiler")
    usable, reason = simgpu.available()
    assert not usable
    assert "no-such-compiler" in reason
    with pytest.raises(RuntimeError, match="no-such-compiler"):
        compile_shared(answer(6), name="k")


def test_a_cache_that_cannot_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("GPUNET_SIM_CACHE", str(blocked / "cache"))
    compiler.cache_folder.cache_clear()
    try:
        assert compiler.cache_folder().is_dir()
    finally:
        compiler.cache_folder.cache_clear()


def test_threads_and_processes_may_compile_at_the_same_time(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: compile_shared(answer(9), name="k").answer(), range(8)))
    assert found == [9] * 8
    script = (
        "from gpunet.testing.simgpu.compiler import compile_shared as c\n"
        f"print(c({answer(11)!r}, name='p').answer())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
        )
        for _ in range(3)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["11"] * 3
    assert len(libraries(folder)) == 2

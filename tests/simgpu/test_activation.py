"""When CuPy has the simulated GPU, when it has none, and what does not fit."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import binding, library

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_outside_of_the_block_there_is_no_gpu() -> None:
    with simgpu.activate() as cp:
        with simgpu.activate():
            pass
        assert cp.cuda.runtime.getDeviceCount() == 1
        assert cp.cuda.is_available()
        assert simgpu.active()
        kept = cp.ones(3)
    assert not simgpu.active()
    assert cp.cuda.runtime.getDeviceCount() == 0
    assert not cp.cuda.is_available()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorNoDevice"):
        cp.ones(3)
    with simgpu.activate():
        assert float(kept.sum()) == 3
    del kept  # memory may go at any time


def test_cupy_may_be_imported_before_the_block() -> None:
    code = (
        "from gpunet.testing import simgpu; import cupy; print(cupy.cuda.is_available())\n"
        "with simgpu.activate(): print(float(cupy.ones(2).sum()))"
    )
    done = python("-c", code)
    assert done.stdout.split() == ["False", "2.0"], done.stderr


def test_cupy_that_came_first_is_left_alone() -> None:
    code = "import cupy; from gpunet.testing import simgpu; print(simgpu.available())"
    done = python("-c", code)
    assert "False" in done.stdout, done.stderr
    assert "CuPy was imported before gpunet.testing.simgpu" in done.stdout


def test_a_program_is_run_and_counted(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, cupy as cp\n"
        "x = cp.arange(6)\n"
        "print(sys.argv[1:], int((x * 2).sum()))\n"
        "sys.exit(3)\n"
    )
    done = python("-m", "gpunet.testing.simgpu", str(program), "-a", "b")
    assert (done.stdout, done.returncode) == ("['-a', 'b'] 30\n", 3), done.stderr


def test_no_file_of_the_cuda_toolkit_is_needed() -> None:
    """CuPy 14 looks for a header of the CUDA runtime before it compiles anything."""
    code = (
        "import os, pathlib; from gpunet.testing import simgpu\n"
        "with simgpu.activate():\n"
        "    print(*pathlib.Path(os.environ['CUDA_PATH'], 'include').glob('cuda_runtime.h'))"
    )
    assert python("-c", code).stdout.strip().endswith("simgpu/include/cuda_runtime.h")


def test_what_a_program_did_is_printed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import cupy as cp\nfloat(cp.arange(6.0).sum())\n")
    done = python("-m", "gpunet.testing.simgpu", str(tmp_path / "program.py"))
    lines = [line.strip() for line in done.stderr.splitlines()]
    assert {"2 launches", "1 d2h copies", "1 x cupy_sum"} <= set(lines), done.stderr


def test_a_cupy_that_does_not_fit_is_named() -> None:
    new = ctypes.pythonapi.PyCapsule_New
    text = ctypes.create_string_buffer(b"int (int)")
    runtime: Any = ModuleType("runtime")
    runtime.__pyx_capi__ = {"malloc": new(1, ctypes.addressof(text), None)}
    message = (
        r"^CuPy \d+\.\S+ does not fit the simulated GPU: malloc is int \(int\), expected intptr_t"
    )
    with pytest.raises(simgpu.DoesNotFit, match=message):
        binding._replace(runtime, library.load())


def test_a_kernel_that_leaves_device_memory_ends_nothing() -> None:
    with simgpu.activate() as cp:
        # 2^40 bytes below the heaps, where no process has anything: nearer there may be the memory
        # of another library, which would be written to.
        wild = cp.ElementwiseKernel("T x", "raw T y", "y[i - (1LL << 37)] = x", "wild")
        with pytest.raises(cp.cuda.driver.CUDADriverError, match="where nothing is"):
            wild(cp.ones(5), cp.ones(5))
        assert float(cp.ones(3).sum()) == 3


def test_a_second_device_is_refused_in_clear_words() -> None:
    with simgpu.activate() as cp:
        message = r"the only one: run this test on GPUs \(mark it `gpu`\)"
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=message):
            cp.cuda.Device(1).use()


def test_a_thread_has_a_context_once_it_uses_the_device() -> None:
    def use() -> None:
        found.append(cp.cuda.driver.ctxGetCurrent())
        cp.cuda.Device(0).use()
        found.append(cp.cuda.driver.ctxGetCurrent())

    found: list[int] = []
    with simgpu.activate() as cp:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert found[0] == 0 != found[1]

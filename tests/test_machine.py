"""gpunet.machine: each reason why no GPU is usable, with fakes, and the command that mends it."""

from __future__ import annotations

import ctypes
import importlib
import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gpunet import machine
from gpunet.machine import Driver, Problem


class FakeCuda:
    """libcuda.so.1, as far as it is asked."""

    def __init__(self, devices: int = 1, cuda: int = 13000, init: int = 0, said: bytes = b""):
        self.devices, self.cuda, self.init, self.said = devices, cuda, init, said

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self.devices
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self.cuda
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = self.said
        return 0


def distribution(name: str | None) -> Any:
    return SimpleNamespace(metadata={"Name": name})


class Machine:
    """What the probe may find."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.driver(FakeCuda())
        self.wheels("cupy-cuda13x")
        self.cupy(working())
        patch.setattr(machine, "installed", self.installed)

    def installed(self, names: tuple[str, ...] = ()) -> dict[str, str]:
        return {"python": "3.99", "gpunet": "9.9", **dict.fromkeys(names, "1.0")}

    def driver(self, cuda: FakeCuda | None) -> None:
        def load(name: str) -> FakeCuda:
            if cuda is None:
                raise OSError(f"{name}: cannot open shared object file")
            return cuda

        self.patch.setattr(ctypes, "CDLL", load)

    def wheels(self, *names: str | None) -> None:
        found = [distribution(name) for name in ("NumPy", None, *names)]
        self.patch.setattr(metadata, "distributions", lambda: found)

    def cupy(self, module: Any) -> None:
        real = importlib.import_module

        def load(name: str) -> Any:
            if name != "cupy":
                return real(name)
            if isinstance(module, Exception):
                raise module
            return module

        self.patch.setattr(machine.importlib, "import_module", load)

    def trouble(self) -> Problem:
        """The only problem there is; the report tells it."""
        (found,) = machine.problems()
        report = machine.report()
        assert report.endswith(f"  why: {found.reason}\n  fix: {found.remedy}")
        assert "none usable" in report
        assert "\n" not in found.reason + found.remedy
        return found


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def working(error: Exception | None = None, product: Exception | None = None) -> Any:
    """A CuPy whose first kernel, or first matrix product, fails with an error."""

    def kernel(*arguments: Any) -> Any:
        if error:
            raise error
        return lambda x: x

    def matmul(a: Any, b: Any) -> Any:
        if product:
            raise product
        return SimpleNamespace(get=lambda: 1)

    class Vector:
        def __getitem__(self, index: Any) -> Vector:
            return self

    properties = {"name": b"NVIDIA H100 80GB HBM3", "totalGlobalMem": 79 * 2**30}
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 2, getDeviceProperties=lambda k: properties | ({"name": "b"} if k else {})  # noqa: E501
    )  # fmt: skip
    return SimpleNamespace(
        ElementwiseKernel=kernel,
        matmul=matmul,
        arange=lambda n, dtype: Vector(),
        cuda=SimpleNamespace(runtime=runtime),
    )


def test_all_is_well(fake: Machine) -> None:
    assert machine.problems() == []
    lines = machine.report().splitlines()
    assert lines[0] == "python         3.99"
    assert "cupy-cuda13x   1.0" in lines
    assert lines[-3:] == [
        "driver         for CUDA up to 13.0",
        "GPU            NVIDIA H100 80GB HBM3, 79 GiB",
        "GPU            b, 79 GiB",
    ]


@pytest.mark.parametrize(
    ("system", "library"), [("Linux", "libcuda.so.1"), ("Windows", "nvcuda.dll")]
)
def test_no_driver(
    system: str, library: str, fake: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    fake.driver(None)
    found = fake.trouble()
    assert found.reason == f"no NVIDIA driver: {library} is not on this machine"
    assert found.remedy.startswith("install the driver")


@pytest.mark.parametrize(
    ("cuda", "words"),
    [
        (FakeCuda(init=100, said=b"no device"), "finds no GPU: CUDA error 100 (no device)"),
        (FakeCuda(init=999), "finds no GPU: CUDA error 999"),
        (FakeCuda(devices=0), "finds no GPU: CUDA error 0"),
    ],
)
def test_no_gpu(cuda: FakeCuda, words: str, fake: Machine) -> None:
    fake.driver(cuda)
    found = fake.trouble()
    assert found.reason == f"the NVIDIA driver {words}"
    assert "--gpus all" in found.remedy


@pytest.mark.parametrize("cuda", [13000, 13020, 12040])
def test_no_cupy(cuda: int, fake: Machine) -> None:
    fake.driver(FakeCuda(cuda=cuda))
    fake.wheels()
    fake.cupy(ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    extra = f"cuda{cuda // 1000}"
    assert fake.trouble() == Problem("CuPy is not installed", f"pip install 'gpunet[{extra}]'")


def test_neither_driver_nor_cupy(fake: Machine) -> None:
    fake.driver(None)
    fake.wheels()
    fake.cupy(ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    assert [p.reason.split(":")[0] for p in machine.problems()] == [
        "no NVIDIA driver",
        "CuPy is not installed",
    ]
    assert machine.report().count("  why: ") == machine.report().count("  fix: ") == 2


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libcudart.so.12: cannot open\nshared object file"),
        ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"),
        RuntimeError("module compiled against ABI version 0x1000009"),
    ],
)
def test_a_broken_cupy(error: Exception, fake: Machine) -> None:
    fake.cupy(error)
    found = fake.trouble()
    words = " ".join(str(error).split())
    assert found.reason == f"CuPy does not import: {type(error).__name__}: {words}"
    assert found.remedy == "pip uninstall -y cupy-cuda13x && pip install 'gpunet[cuda13]'"


def test_a_leftover_folder(fake: Machine) -> None:
    """Without its files a folder `cupy` imports as an empty namespace."""
    fake.cupy(ModuleType("cupy"))
    assert fake.trouble().reason.startswith("CuPy does not import: AttributeError")


def test_two_wheels(fake: Machine) -> None:
    fake.wheels("cupy-cuda12x", "CuPy-CUDA13x", "cupy-cuda12x")
    found = fake.trouble()
    assert found.reason.startswith("two CuPy wheels share one folder: cupy-cuda12x, cupy-cuda13x;")
    assert found.remedy == (
        "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install 'gpunet[cuda13]'"
    )


def test_a_driver_too_old_for_this_cupy(fake: Machine) -> None:
    fake.driver(FakeCuda(cuda=12040))
    found = fake.trouble()
    assert found.reason == "the NVIDIA driver is too old for cupy-cuda13x: it runs CUDA 12.4"
    assert found.remedy.startswith(
        "pip uninstall -y cupy-cuda13x && pip install 'gpunet[cuda12]', or install a newer driver"
    )
    fake.wheels("cupy-cuda12x")
    assert machine.problems() == []


def test_a_driver_too_old_for_any_cupy(fake: Machine) -> None:
    fake.driver(FakeCuda(cuda=11080))
    found = fake.trouble()
    assert found.reason == "the NVIDIA driver is too old: it runs CUDA 11.8, and CuPy needs 12.0"
    assert found.remedy.startswith("install a newer driver")


INSTALL = "pip install 'gpunet[cuda13]'"


# The texts are CuPy 14's and the CUDA runtime's own.
@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (
            RuntimeError('Failure finding "libnvrtc.so": No such file: libnvrtc.so*'),
            "NVRTC, which compiles the kernels, is missing (RuntimeError: Failure finding",
            INSTALL,
        ),
        (
            RuntimeError("Failed to find CUDA headers.\nInstall them by pip"),
            "the CUDA headers are missing (RuntimeError: Failed to find CUDA headers. Install",
            INSTALL,
        ),
        (
            RuntimeError('NVRTC_ERROR_COMPILATION: cannot open source file "cuda_fp16.h"'),
            "the CUDA headers are missing (",
            INSTALL,
        ),
        (
            RuntimeError("NVRTC_ERROR_INVALID_OPTION (5): --gpu-architecture=sm_130"),
            "NVRTC does not compile for this GPU (",
            f"{INSTALL} --upgrade",
        ),
        (
            RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient"),
            "the NVIDIA driver is older than this CuPy needs (",
            "install a newer driver",
        ),
        (
            MemoryError("cudaErrorMemoryAllocation: out of memory"),
            "the GPU's memory is full (",
            "end what fills it; nvidia-smi lists it",
        ),
        (RuntimeError("cudaErrorECCUncorrectable"), "the GPU does not compute (", "run nvidia-smi"),
    ],
)
def test_a_first_kernel_that_fails(
    error: Exception, reason: str, remedy: str, fake: Machine
) -> None:
    fake.cupy(working(error))
    found = fake.trouble()
    assert found.reason.startswith(reason)
    assert found.remedy.startswith(remedy)


def test_a_product_that_fails(fake: Machine) -> None:
    fake.cupy(working(product=ImportError("libcublas.so.13: cannot open shared object file")))
    found = fake.trouble()
    assert found.reason.startswith("cuBLAS is missing or broken (ImportError: libcublas.so.13")
    assert found.remedy == INSTALL


def test_a_long_error_is_cut(fake: Machine) -> None:
    fake.cupy(working(RuntimeError("x " * 5000)))
    assert len(fake.trouble().reason) < 300


def test_a_checkout_that_is_not_installed(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "installed", lambda names=(): {"python": "3.99"})
    fake.wheels()
    fake.cupy(ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    assert fake.trouble().remedy == "pip install '.[cuda13]'"


def test_the_simulated_gpus_driver_answers_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    simgpu = importlib.import_module("gpunet.testing.simgpu")
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")
    with simgpu.activate():
        assert isinstance(machine.driver(), Driver)
        assert machine.problems() == []
        assert "none usable" not in machine.report()
    assert isinstance(machine.driver(), Problem)


def test_this_machine() -> None:
    """One real look; it must not fail, whatever is here."""
    found = machine.driver()
    assert isinstance(found, (Driver, Problem))
    assert all(isinstance(p, Problem) for p in machine.problems())
    lines = machine.report().splitlines()
    assert lines[0] == f"python         {'.'.join(map(str, sys.version_info[:3]))}"
    assert any(line.startswith("numpy ") for line in lines)
    assert any(line.startswith("GPU ") for line in lines)


def test_versions_of_what_is_there() -> None:
    found = machine.installed(("numpy", "a-package-that-nobody-wrote"))
    assert list(found) == ["python", "numpy"]

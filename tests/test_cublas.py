"""gpunet.cublas: where the library comes from. Products by it: tests/test_gemm.py."""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import pytest

from gpunet import cublas

LOADED, ANY = ctypes.DEFAULT_MODE | os.RTLD_NOLOAD, ctypes.DEFAULT_MODE


def a_cupy(version: int) -> Any:
    runtime = SimpleNamespace(runtimeGetVersion=lambda: version)
    return SimpleNamespace(ndarray=int, cuda=SimpleNamespace(runtime=runtime))


def test_the_simulated_gpu_has_one(cp: Any) -> None:
    assert cublas.library() is not None


def test_where_the_library_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this CuPy has loaded comes before another CUDA's package beside it."""

    def pathfinder(name: str) -> Any:
        assert name == "cublas"
        return SimpleNamespace(abs_path="/found/libcublas.so.13")

    found = SimpleNamespace(load_nvidia_dynamic_lib=pathfinder)
    monkeypatch.setattr(cublas, "loaded_cupy", lambda: a_cupy(12090))
    monkeypatch.setattr(
        cublas.importlib, "import_module", lambda name: {"cuda.pathfinder": found}[name]
    )
    monkeypatch.setattr(cublas.platform, "system", lambda: "Linux")
    own = "libcublas.so.12"
    assert list(cublas._places()) == [(own, LOADED), ("/found/libcublas.so.13", ANY), (own, ANY)]
    monkeypatch.setattr(cublas.importlib, "import_module", lambda name: {}[name])
    assert list(cublas._places()) == [(own, LOADED), (own, ANY)]
    monkeypatch.setattr(cublas.platform, "system", lambda: "Windows")
    monkeypatch.setattr(cublas, "loaded_cupy", lambda: a_cupy(13000))
    assert list(cublas._places()) == [("cublas64_13.dll", ANY)]


def test_the_first_library_that_loads_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, mode: int) -> str:
        if name == "missing":
            raise OSError(name)
        return f"library {name} {mode}"

    places = [("missing", LOADED), ("there", LOADED), ("later", ANY)]
    monkeypatch.setattr(cublas.ctypes, "CDLL", load)
    monkeypatch.setattr(cublas, "_places", lambda: iter(places))
    assert cublas._load.__wrapped__() == f"library there {LOADED}"
    monkeypatch.setattr(cublas, "_places", lambda: iter(places[:1]))
    assert cublas._load.__wrapped__() is None
    monkeypatch.setattr(cublas, "loaded_cupy", lambda: None)
    assert cublas.library() is None

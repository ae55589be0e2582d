"""The suite of gpunet: every test with the fixture `device` or `xp` runs on each chosen device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import cxx, numpy_c
from gpunet.optim import native
from gpunet.testing import simgpu

# Nothing is compiled behind the back of a test that does not ask for it.
os.environ.setdefault("GPUNET_CPU_KERNELS", "numpy")

# Tests read English, wherever they run.
os.environ["GPUNET_LANG"] = "en"

# It was for this run: a pytest that a test starts is to run as it was written.
os.environ.pop("PYTEST_ADDOPTS", None)

pytest_plugins = ["gpunet.testing.plugin", "tests.console"]


@pytest.fixture
def sim() -> Iterator[Any]:
    """The simulated GPU's CuPy, whatever --gpunet-device says: for what is counted or shown there
    alone.
    """
    usable, reason = simgpu.available()
    if not usable:
        refuse = pytest.fail if os.environ.get("GPUNET_REQUIRE_SIM") else pytest.skip
        refuse(f"no simulated GPU: {reason}")
    with simgpu.activate() as cupy:
        yield cupy


@pytest.fixture
def compiled_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On the CPU steps run by script from the second on; a skip where none can be had."""
    usable, reason = cxx.available()
    if not usable:
        pytest.skip(f"nothing is compiled: {reason}")
    if numpy_c.addresses(np.float32) is None:
        pytest.skip("no BLAS beside NumPy")
    monkeypatch.setenv(native.VARIABLE, "native")
    native.choice.cache_clear()
    yield
    monkeypatch.undo()
    native.choice.cache_clear()

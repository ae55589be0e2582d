"""The suite of gpunet: every test with the fixture `device` or `xp` runs on each chosen device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

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

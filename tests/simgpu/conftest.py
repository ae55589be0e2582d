"""CuPy on the simulated GPU, for the length of a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gpunet.testing import simgpu


@pytest.fixture
def cp() -> Iterator[Any]:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(reason)
    with simgpu.activate() as cupy:
        yield cupy

"""gpunet.testing.bench: what a step asks of the simulated GPU."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.backend import DeviceError
from gpunet.bench.workloads import workloads
from gpunet.testing import bench, simgpu


def test_counts_are_of_one_step() -> None:
    usable, reason = simgpu.available()
    if not usable:
        pytest.skip(f"no simulated GPU: {reason}")
    with bench.simulated() as place:
        import cupy

        x = cupy.zeros(100, np.float32)

        def run(steps: int) -> None:
            for _ in range(steps):
                x.get()
                cupy.add(x, x)
                cupy.add(x, x)

        found = place.count(run, workloads("sim")["W1"], "eager")
    assert (place.name, place.device, place.timed) == ("sim", "cuda", False)
    assert found["launches"] == 2
    assert found["d2h_copies"] == 1
    assert found["h2d_copies"] == 0
    assert found["bytes_allocated"] == 2 * 512


def test_without_a_compiler_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simgpu, "available", lambda: (False, "g++ is missing"))
    wanted = pytest.raises(DeviceError, match=r"no simulated GPU: g\+\+ is missing")
    with wanted, bench.simulated():
        pass

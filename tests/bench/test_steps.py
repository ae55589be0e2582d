"""gpunet.bench.steps: they train, go through an epoch in order, and run captured off the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet.bench import steps
from gpunet.bench.workloads import Workload, rows, workloads


def test_a_step_learns_and_the_tape_does_the_same() -> None:
    w5 = workloads("cpu")["W5"]
    x, t = rows(w5)
    losses = []
    for fuse in (True, False):
        step = steps.training_step(w5, "cpu", fuse=fuse)
        losses.append([float(step(x, t)) for _ in range(20)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_an_epoch_goes_through_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    w6 = Workload("W6", "sgd", (4, 3, 2), 5, rows=12)
    seen: list[Any] = []
    x = np.arange(48, dtype=np.float32).reshape(12, 4)
    monkeypatch.setattr(steps, "rows", lambda *_: (x, np.arange(12) % 2))
    monkeypatch.setattr(steps, "training_step", lambda *_: lambda x, t: seen.append(x[:, 0]))
    steps.runner(w6, "cpu")(4)
    assert len(seen) == 4
    for epoch in (0, 2):
        taken = np.concatenate(seen[epoch : epoch + 2]) / 4
        assert len(set(taken.tolist())) == 10
    assert not np.array_equal(seen[0], seen[2])


def test_a_step_off_the_cpu_is_measured_captured_too() -> None:
    w1, w4 = (workloads("cpu")[n] for n in ("W1", "W4a"))
    assert steps.modes(w1, "cuda") == ["eager", "captured", "phases", "persistent"]
    assert steps.modes(w1, "cpu") == steps.modes(w4, "cuda") == ["eager"]

"""gpunet.bench.measure: a record a mode, beside what a GPU can do."""

from __future__ import annotations

import pytest

from gpunet.bench import measure, timing
from gpunet.bench.counting import counts
from gpunet.bench.places import Place
from gpunet.bench.workloads import Workload, workloads

SMALL = Workload("W5", "sgd", (4, 3, 2), 5)


def test_what_a_gpu_is_measured_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_copy_rate", lambda: 2.8e12)
    monkeypatch.setattr(measure, "_gemm_rate", lambda: 5e13)
    known = workloads("cuda")
    assert measure.shares(known["W4b"], 2e-3) == {"share_of_copy": pytest.approx(0.5)}
    assert measure.shares(known["W3"], 0.02)["share_of_gemm"] == pytest.approx(0.58, abs=0.01)
    assert measure.shares(known["W2"], 1.0) == {}


def test_a_round_is_one_step_where_no_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "ROUND_S", 0.001)
    asked = []

    def count(run: timing.Run, workload: Workload, mode: str) -> dict[str, float | None]:
        asked.append((workload, mode))
        return counts(launches=7)

    place = Place("nowhere", "cpu", count, timed=False)
    [record] = measure.measure(SMALL, place)
    assert (record["steps_a_round"], record["rounds"]) == (1, measure.FEW)
    assert (record["device"], record["launches"], record["d2h_copies"]) == ("nowhere", 7, None)
    assert asked == [(SMALL, "eager")]

"""benchmarks.launches: docs/step.md has the record's table; tests/commands/test_bench.py holds the
record to what `gpunet bench` counts.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks import launches
from benchmarks.tables import rewritten


@pytest.fixture(scope="module")
def record() -> Any:
    return json.loads(launches.RECORD.read_bytes())


def test_the_page_has_the_table(record: Any) -> None:
    page = launches.PAGE.read_text("utf-8")
    assert rewritten(page, launches.MARK, launches.table(record)) == page


def test_every_mode_of_every_workload_is_there(record: Any) -> None:
    for name in launches.NAMES:
        trained = {"training"} if name[0] == "W" else set()
        assert set(record["now"][name]) == {*launches.MODES} - {"training"} | trained
        assert set(record["before"][name]) == {"eager", "captured"} | trained


def test_an_update_of_a_training_is_a_fraction_of_a_launch(record: Any) -> None:
    """Guard, losses and the order of the rows included: 50 updates a launch."""
    for name in ("W1", "W2", "W5"):
        both = (record[when][name]["training"] for when in ("before", "now"))
        before, now = (dict(zip(launches.COUNTS, one, strict=True)) for one in both)
        assert now["kernels"] < 0.2 < 5 < before["kernels"]
        assert now["launches"] < before["launches"]
        assert now["waits"] < before["waits"]


@pytest.mark.parametrize(
    ("before", "now", "cell"),
    [
        (None, 0.1, "0.1"),
        (9.0, 9.0, "9"),
        (0.025, 0.005, "0.025 → 0.005"),
        (1e4, 512.0, "10,000 → 512"),
    ],
)
def test_a_cell_tells_of_a_change(before: float | None, now: float, cell: str) -> None:
    record = {"before": {"W": {"eager": [before] * 5} if before else {}}, "now": {"W": {}}}
    record["now"]["W"] = {mode: [now] * 5 for mode in launches.MODES}
    assert f"| {cell} |" in launches.table(record).splitlines()[2]

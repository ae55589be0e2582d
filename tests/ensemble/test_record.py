"""The record of `python -m benchmarks.ensembles`, and what docs/benchmarks.md says of it."""

from __future__ import annotations

import json
import statistics

import pytest

from benchmarks.ensembles import RESULTS, SHAPES

DOCS = RESULTS.parents[2] / "docs"


def test_the_page_says_what_was_measured() -> None:
    record = json.loads((RESULTS / "cpu.json").read_text("utf-8"))
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    for name in SHAPES:
        found = record[name]
        assert found["same to the last bit"]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
        told = [float(cell) for cell in row.split("|")[2:5]]
        ways = ("one by one, processor s", "together, processor s")
        seconds = [statistics.median(found[way]) for way in ways]
        assert told == pytest.approx([*seconds, found["times as fast"]], abs=0.051), name
        assert told[:2] == pytest.approx(seconds, abs=0.0051), name
    few, many = record["launches a step, with the epoch's share"].values()
    assert few == many == 1 / 8
    assert "eight updates of 8-6-3" in page
    assert "one launch for 2 networks and for 64" in page

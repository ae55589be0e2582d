"""The record of `python -m benchmarks.ensembles`, and what docs/benchmarks.md says of it."""

from __future__ import annotations

import json

from benchmarks.ensembles import RESULTS, SHAPES

DOCS = RESULTS.parents[2] / "docs"


def test_the_page_says_what_was_measured() -> None:
    record = json.loads((RESULTS / "cpu.json").read_text("utf-8"))
    page = (DOCS / "benchmarks.md").read_text("utf-8")
    for name in SHAPES:
        found = record[name]
        assert found["same to the last bit"]
        together, alone = found["together, processor s"][0], found["one by one, processor s"][0]
        assert f"| {name} | {alone} | {together} | {found['times as fast']} |" in page
    few, many = record["launches a step, with the epoch's share"].values()
    assert few == many
    assert f"{few:g} launches for 2 networks and for 64" in page

"""gpunet.testing.phase_gate: what docs/machine_code.md says of phases is what NVRTC makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpunet.testing import compile_gate, phase_gate
from gpunet.testing.phase_gate import LARGE, SHARE, Row

PAGE = Path(__file__).parents[2] / "docs/machine_code.md"
RECORD = Path(__file__).with_name("phases.json")
ROW = Row("W1", "node_0", "product 0", 132, 71, 13056, 0, 0, 771, 79.0, 384, 450, 0.5, "")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """In a process of its own, where `cupy` is the real one."""
    file = tmp_path_factory.mktemp("gate") / "found.json"
    command = [sys.executable, "-m", "gpunet.testing.phase_gate", "W1", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode == compile_gate.MISSING:
        refuse = pytest.fail if os.environ.get("GPUNET_REQUIRE_NVRTC") else pytest.skip
        refuse(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    return [Row(**row) for row in json.loads(file.read_bytes())]


@pytest.fixture(scope="module")
def record() -> list[Row]:
    """Of W1, W2 and W5, by `python -m gpunet.testing.phase_gate --json FILE`."""
    return [Row(**row) for row in json.loads(RECORD.read_bytes())]


def test_the_record_is_of_the_kernels_as_they_are(record: list[Row]) -> None:
    found = {(row.workload, row.kernel): row.source for row in record}
    assert found == phase_gate.sources(phase_gate.NAMES), (
        "the kernels of a step in phases have changed: write the record anew, by python -m "
        "gpunet.testing.phase_gate --json tests/testing/phases.json, and the table that it prints "
        "into docs/machine_code.md"
    )


def test_the_page_says_what_the_record_does(record: list[Row]) -> None:
    assert "\n".join([phase_gate.HEAD, *map(phase_gate.line, record)]) in PAGE.read_text("utf-8")


def test_nothing_is_wrong_with_any(record: list[Row]) -> None:
    assert not [row.problem for row in record if row.problem]
    products = [row for row in record if row.multiply_adds >= LARGE]
    assert {row.workload for row in products} == set(phase_gate.NAMES)
    assert all(row.share >= SHARE for row in products)


def test_the_record_says_what_nvrtc_makes(found: list[Row], record: list[Row]) -> None:
    """Of W1 anew."""
    told = {row.kernel: row for row in record if row.workload == "W1"}
    assert told.keys() == {row.kernel for row in found}
    for row in found:
        old = told[row.kernel]
        assert (row.phase, row.blocks, row.frame) == (old.phase, old.blocks, old.frame)
        assert row.registers == pytest.approx(old.registers, abs=16), row.kernel
        assert row.shared == pytest.approx(old.shared, rel=0.1), row.kernel
        assert row.instructions == pytest.approx(old.instructions, rel=0.1), row.kernel
        assert row.floor_us == pytest.approx(old.floor_us, abs=0.01), row.kernel
        assert row.share == pytest.approx(old.share, abs=0.05), row.kernel


def test_comments_are_no_code() -> None:
    text = "int a;  // one\n\n  int b;\n"
    assert phase_gate.source_of(text) == phase_gate.source_of("int a; int b;  // two")
    assert phase_gate.source_of(text) != phase_gate.source_of("int a; int c;")


def test_what_is_wrong_is_named() -> None:
    def but(**changed: Any) -> str:
        return Row(**{**vars(ROW), **changed}).problem

    assert but() == ""
    assert (
        but(among=600) == "W1 node_0 (product 0): 0.64 of its product multiplies and adds, not 0.75"
    )
    assert but(frame=8) == "W1 node_0 (product 0) has a stack frame of 8 bytes, spills 0"
    assert "does not compile:\nno" in but(error="no")
    assert but(multiply_adds=16, among=60) == ""  # a sum over few

"""gpunet.testing.phase_gate: what docs/machine_code.md says of the phases is what NVRTC makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpunet.testing import compile_gate
from gpunet.testing.phase_gate import LARGE, SHARE, Row

PAGE = Path(__file__).parents[2] / "docs/machine_code.md"
ROW = Row("W1", "node_0", "product 0", 132, 71, 13056, 0, 0, 771, 79.0, 384, 450, 0.5)


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


def documented(workload: str) -> dict[str, list[str]]:
    """The lines of the page's table, by the kernel's name."""
    section = PAGE.read_text("utf-8").split("## Phases of a step\n")[1].split("\n## ")[0]
    cells = [
        [c.strip() for c in n.strip("| ").split("|")] for n in section.splitlines() if "|" in n
    ]
    return {row[1]: row for row in cells if row[0] == workload}


def test_the_page_says_what_nvrtc_makes(found: list[Row]) -> None:
    told = documented("W1")
    assert told.keys() == {row.kernel for row in found}
    for row in found:
        _, _, phase, blocks, registers, shared, frame, instructions, _, share, floor = told[
            row.kernel
        ]
        assert (row.phase, row.blocks, row.frame) == (phase, int(blocks), int(frame))
        assert row.registers == pytest.approx(int(registers), abs=16), row.kernel
        assert row.shared == pytest.approx(int(shared), rel=0.1), row.kernel
        assert row.instructions == pytest.approx(int(instructions), rel=0.1), row.kernel
        assert row.floor_us == pytest.approx(float(floor), abs=0.01), row.kernel
        if row.multiply_adds >= LARGE:
            assert row.share == pytest.approx(float(share), abs=0.05), row.kernel
            assert row.share >= SHARE
    assert (
        sum(row.multiply_adds >= LARGE for row in found) == 3
    )  # product, weights, and both in one


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

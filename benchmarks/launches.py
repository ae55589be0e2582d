"""What a step asks of a GPU, counted on the simulated one: as it was, and as it is.

    git worktree add ../before 05d7461
    python -m benchmarks.launches ../before    count, write a record, and docs/step.md's table
    python -m benchmarks.launches --text       the table from the record

Both versions run the same steps of W1, W2, W5 and three networks that were drawn at random: kernel
by kernel, as a CUDA graph (`gn.capture`), and the Ws in a `Trainer`; the present one in phases,
too. Nothing is timed. It takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, ROOT, Record, commit_here
from benchmarks.tables import rewritten
from gpunet.bench.workloads import workloads
from gpunet.files import write_atomically

RECORD = RESULTS / "launches" / "sim.json"
PAGE, MARK = ROOT / "docs" / "step.md", "launches"
NAMES = ("W1", "W2", "W5", "R1", "R2", "R3")
MODES = ("eager", "captured", "training", "phases", "persistent")
COUNTS = ("launches", "kernels", "copies", "waits", "bytes")  # as launches_here.py gives them
COUNTING = ROOT / "benchmarks" / "launches_here.py"  # of any version of gpunet


def counted(version: Path) -> dict[str, dict[str, list[float]]]:
    """By workload and mode, COUNTS a step of a checkout of gpunet."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in NAMES:
        told = json.dumps([asdict(workloads("sim")[name])])
        command = [sys.executable, "-c", COUNTING.read_text("utf-8"), told]
        # Python looks into the current folder first.
        done = subprocess.run(command, check=True, cwd=version, stdout=subprocess.PIPE)
        found |= json.loads(done.stdout)
        print(f"{name} of {version}: {found[name]}", flush=True)
    return found


def measure(before: Path) -> Record:
    what = {name: workloads("sim")[name].text for name in NAMES}
    return {**commit_here(), "what": what, "before": counted(before), "now": counted(ROOT)}


def table(record: Record) -> str:
    """Markdown: a line for each workload and mode; a cell is "before → now" where they differ."""
    lines = [["", "", *(f"{name} a step" for name in COUNTS)], ["---"] * (2 + len(COUNTS))]
    for name in record["now"]:
        lines += list(_lines(name, record["before"][name], record["now"][name]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _lines(name: str, before: Any, now: Any) -> Iterator[list[str]]:
    for mode in MODES:
        then = before.get(mode) or [None] * len(COUNTS)
        if mode in now:
            yield [name, mode, *map(_cell, then, now[mode])]


def _cell(before: float | None, now: float) -> str:
    """At most three digits."""
    texts = [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in (before or 0.0, now)]
    return texts[1] if before is None or texts[0] == texts[1] else " → ".join(texts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launches")
    parser.add_argument("before", type=Path, nargs="?", help="a checkout of the other version")
    parser.add_argument("--text", action="store_true", help="only the table, from the record")
    given = parser.parse_args()
    if not given.text:
        if given.before is None:
            parser.error(
                "give a checkout of the version before: git worktree add ../before 05d7461"
            )
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        found = measure(given.before)
        write_atomically(RECORD, (json.dumps(found, indent=1) + "\n").encode())
    record = json.loads(RECORD.read_bytes())
    write_atomically(PAGE, rewritten(PAGE.read_text("utf-8"), MARK, table(record)).encode())


if __name__ == "__main__":
    main()

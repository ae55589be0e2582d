"""How long `gpunet compare` takes, beside another version of gpunet.

    git worktree add ../before 05d7461
    python -m benchmarks.compare_time ../before [--rounds 3] [--seeds 3]

Both run `gpunet compare --seeds N` by turns, each time into an empty folder: from the call to the
report, pictures included. It prints wall and processor seconds, the median of the ratios, and
whether the two come to the same order of the optimizers; the record goes to
benchmarks/results/compare/.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.machine import processor, watched

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "compare"


def timed(version: Path, seeds: int) -> tuple[float, float, list[str]]:
    """Wall seconds, processor seconds, and the optimizers by rising validation loss."""
    environment = {**os.environ, "PYTHONPATH": str(version.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gpunet", "compare", "--seeds", str(seeds)]
        before, began = _processor_s(), time.perf_counter()
        subprocess.run([*command, "--out", folder], check=True, env=environment, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        seconds = time.perf_counter() - began
        rows = csv.DictReader((Path(folder) / "table.csv").read_text("utf-8").splitlines())
        return seconds, _processor_s() - before, [row["optimizer"] for row in rows]


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, list[str]]]] = {"before": [], "now": []}
    with watched() as others:
        for _ in range(given.rounds):
            for name, version in (("before", given.before), ("now", ROOT)):
                found[name].append(timed(version, given.seeds))
                wall, used, _ = found[name][-1]
                print(f"{name:6}  {wall:6.1f} s, of the processor {used:6.1f} s", flush=True)
    record = summary(found) | {
        "seeds": given.seeds, "processor": processor(), "other programs": others.share,
        **records.commit_here(), "cores": os.cpu_count(),
    }  # fmt: skip
    print(json.dumps(record, indent=2))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "cpu.json").write_text(json.dumps(record, indent=2) + "\n")


def summary(found: dict[str, list[tuple[float, float, list[str]]]]) -> dict[str, Any]:
    """Medians of both, and of the ratios; whether the orders are the same."""
    pairs = list(zip(found["before"], found["now"], strict=True))
    return {
        "wall seconds": {name: [round(r[0], 2) for r in runs] for name, runs in found.items()},
        "processor seconds": {name: [round(r[1], 2) for r in runs] for name, runs in found.items()},
        "times as fast": round(statistics.median(a[0] / b[0] for a, b in pairs), 2),
        "processor ratio": round(statistics.median(a[1] / b[1] for a, b in pairs), 2),
        "same order": all(a[2] == b[2] for a, b in pairs),
    }


if __name__ == "__main__":
    main()

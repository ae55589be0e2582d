"""How long `gpunet compare` takes, beside another version of gpunet.

    git worktree add ../before 05d7461
    python -m benchmarks.compare_time ../before [--rounds 3] [--seeds 3]

Both run `gpunet compare --seeds N` by turns, each time into an empty folder: from the call to the
report, pictures included; compiled to bytecode before, as an installation is. It prints wall and
processor seconds, the median of the ratios, and whether the two come to the same order of the
optimizers; the record goes to benchmarks/results/compare/.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import ctypes
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


def environment(version: Path, bytecode: str) -> dict[str, str]:
    """In which this version runs, compiled: Python's own way to keep bytecode may be turned off."""
    place = {"PYTHONPATH": str(version.resolve()), "PYTHONPYCACHEPREFIX": bytecode}
    found = {**os.environ, **place, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-m", "gpunet", "compare", "--optimizers", "sgd", "--epochs", "1"]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([*command, "--out", out], check=True, env=found, capture_output=True)
    return found


def timed(environment: dict[str, str], seeds: int) -> tuple[float, float, list[str]]:
    """Wall seconds, processor seconds, and the optimizers by rising validation loss."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gpunet", "compare", "--seeds", str(seeds)]
        before, began = _processor_s(), time.perf_counter()
        subprocess.run([*command, "--out", folder], check=True, env=environment, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        seconds = time.perf_counter() - began
        with contextlib.suppress(ChildProcessError):
            while True:  # what forked the training processes off ends a moment later
                os.waitpid(-1, 0)
        rows = csv.DictReader((Path(folder) / "table.csv").read_text("utf-8").splitlines())
        return seconds, _processor_s() - before, [row["optimizer"] for row in rows]


def inherit() -> None:
    """Be the parent of what outlives its own: only who waits for a process learns its time."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of the other version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    inherit()
    found: dict[str, list[tuple[float, float, list[str]]]] = {"before": [], "now": []}
    versions = {"before": given.before, "now": ROOT}
    with tempfile.TemporaryDirectory() as bytecode, watched() as others:
        places = {name: environment(version, bytecode) for name, version in versions.items()}
        for name in list(versions) * given.rounds:
            found[name].append(timed(places[name], given.seeds))
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

"""Everything that gpunet claims about GPUs, proved on the one that is there.

    python -m benchmarks.verify_gpu --part 1     whether it is right: less than ten minutes
    python -m benchmarks.verify_gpu --part 2     compute-sanitizer, and how fast it is: as long
    python -m benchmarks.verify_gpu              both

in a checkout whose Python has CuPy, pytest and gpunet's core dependencies: no installation, no
network, no g++. Part 1 runs the digits on both devices from one seed, matrix products, the fused
and the captured step against the plain one, every kernel against its reference, and the tests on
cuda; part 2 compute-sanitizer over the kernels where it is installed, streaming, and the timings:
each in processes of its own with a time limit; with pytest-xdist the tests run in eight at once.

Writes one JSON, named by date, device, commit and part. Exit status: 0 if everything was run and
passed, 1 if anything failed, was skipped or was left out, 2 if there is no usable GPU (nothing is
written).

`--device sim` runs the same on the simulated GPU, for a try: without limits, and it writes to a
temporary folder: it is no GPU result.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.gpu.processes import EACH_KERNEL, Failed, Result, child
from benchmarks.gpu.stages import STAGES, Run, Stage

PARITY = EACH_KERNEL.parent
NO_DEVICE = 2  # exit status
DEVICE_LIMIT = 40.0  # seconds to find out what the device is


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    limited = options.device == "cuda"
    try:
        found = child("device", options.device, DEVICE_LIMIT if limited else None)
    except Failed as error:
        first, *rest = str(error).strip().splitlines()
        found = {"problem": ": ".join([first, *rest[-1:]])}
    if "problem" in found:
        print(f"no usable GPU: {found['problem']}; nothing was run, nothing written")
        return NO_DEVICE
    about = records.header(options.device, found["device"], commit=options.commit) | found
    expected = [stage for stage in STAGES if stage.part in options.parts]
    chosen = [stage for stage in expected if stage.name in (options.only or [stage.name])]
    with tempfile.TemporaryDirectory() as cache:  # compiled once for all stages
        os.environ.setdefault("CUPY_CACHE_DIR", cache)
        results = {stage.name: _result(stage, options, limited) for stage in chosen}
    about["part"] = options.part
    whole = record(about, results, [stage.name for stage in expected])
    file = records.write(options.out, whole)
    for line in [*whole["failures"], *(f"skipped: {reason}" for reason in whole["skips"])]:
        print(line)
    counts = ", ".join(f"{whole[k]} {k}" for k in ("passed", "failed", "skipped"))
    print(f"{about['device']}: {counts}, {whole['seconds']:.0f} s; written to {file}")
    return 0 if whole["ok"] else 1


def _result(stage: Stage, options: argparse.Namespace, limited: bool) -> Result:
    limit = stage.limit if limited else None
    found = stage.outcome(Run(options.device, options.tests, options.parity, limit))
    counts = f"{found.passed} passed, {found.failed} failed, {found.skipped} skipped"
    note = f" ({found.note})" if found.note else ""
    print(f"{stage.name:<14} {counts}, {found.seconds:.1f} s{note}", flush=True)
    return found


def record(
    about: dict[str, Any], results: dict[str, Result], expected: Sequence[str]
) -> dict[str, Any]:
    """One dictionary for the file: totals first, then each stage."""
    left_out = [name for name in expected if name not in results]
    skips: Counter[str] = Counter()
    for result in results.values():
        skips.update(result.skips)
    failed = sum(r.failed for r in results.values())
    skipped = sum(r.skipped for r in results.values())
    return about | {
        "ok": not (failed or skipped or left_out),
        "passed": sum(r.passed for r in results.values()),
        "failed": failed,
        "skipped": skipped,
        "left_out": left_out,
        "failures": [f"{name}: {f}" for name, r in results.items() for f in r.failures],
        "skips": dict(skips),
        "timings": {what: t for r in results.values() for what, t in r.timings.items()},
        "seconds": round(sum(r.seconds for r in results.values()), 1),
        "stages": {name: asdict(result) for name, result in results.items()},
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify_gpu")
    parser.add_argument("--part", type=int, choices=(1, 2), help="one of the two (default: both)")
    parser.add_argument("--out", type=Path, help="folder of the JSON (default: benchmarks/results)")
    parser.add_argument("--device", choices=("cuda", "sim"), default="cuda")
    parser.add_argument("--commit", help="the commit, for a copy that git does not know")
    names = [stage.name for stage in STAGES]
    parser.add_argument("--only", nargs="+", choices=names, metavar="STAGE", help=", ".join(names))
    parser.add_argument("--tests", type=Path, default=Path("tests"), help=argparse.SUPPRESS)
    parser.add_argument("--parity", type=Path, default=PARITY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    simulated = options.device == "sim"
    if simulated and options.out and options.out.resolve() == records.RESULTS:
        parser.error("a run on the simulated GPU is no GPU result: give another --out")
    default = Path(tempfile.gettempdir(), "gpunet-verify-sim") if simulated else records.RESULTS
    options.out = options.out or default
    options.parts = (options.part,) if options.part else (1, 2)
    return options


if __name__ == "__main__":
    sys.exit(main())

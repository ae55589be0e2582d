"""Everything that gpunet claims about GPUs, proved on the one that is there.

    python -m benchmarks.verify_gpu --out benchmarks/results/

in a checkout whose Python has CuPy, pytest and gpunet's core dependencies: no installation, no
network, no g++. Runs the digits on both devices from one seed, matrix products, the fused and the
captured step against the plain one, streaming, the tests on cuda, every kernel against its
reference, compute-sanitizer over the kernels where it is installed, and the timings: each in
processes of its own with a time limit, less than eight minutes together.

Writes one JSON, named by date, device and commit. Exit status: 0 if everything was run and passed,
1 if anything failed, was skipped or was left out, 2 if there is no usable GPU (nothing is written).

`--device sim` runs the same on the simulated GPU, for a try: it writes to a temporary folder and is
no GPU result.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpunet.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PARITY = Path("tests", "gpu")
COMPILING = "each kernel once, in a new process"
NO_DEVICE = 2  # exit status
DEVICE_LIMIT = 40  # seconds to find out what the device is
TOTAL = 470  # seconds for all parts together: the last ones get what is left, and no more
SLOWER = 10  # how many times the limits where the GPU is simulated: no machine waits
TAIL = 2000  # characters of a failed command's output that are kept


@dataclass
class Result:
    """What a part found. `note` says what is to know beside the counts."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    skips: dict[str, int] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    seconds: float = 0.0

    def check(self, what: str, problem: str) -> None:
        """Count one check: passed where there is no problem."""
        if problem:
            self.failed += 1
            self.failures.append(f"{what}: {problem}")
        else:
            self.passed += 1


@dataclass(frozen=True)
class Run:
    """What the parts need to know: the place (cuda or sim), the tests, a limit in seconds."""

    place: str
    tests: Path
    parity: Path
    limit: float


class Countdown:
    """Counts down from `seconds`, from now on."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self, wanted: float) -> float:
        """`wanted` seconds, or as many as there are."""
        return max(0.0, min(wanted, self.end - time.monotonic()))


class Failed(Exception):
    """A part that gave no result; the message is what is known."""


# Parts


def suite(run: Run) -> Result:
    return pytest_result(run, run.tests, f"--ignore={run.parity}")


def parity(run: Run) -> Result:
    return pytest_result(run, run.parity)


def training(run: Run) -> Result:
    return checked(run, "training")


def products(run: Run) -> Result:
    return checked(run, "products")


def step(run: Run) -> Result:
    return checked(run, "step")


def streaming(run: Run) -> Result:
    return checked(run, "streaming")


def checked(run: Run, name: str) -> Result:
    """The checks that a part of benchmarks.parts made, and its timings if it has some."""
    found = child(run, name)
    result = Result(timings=found.get("timings", {}))
    for what, problem in found["checks"].items():
        result.check(what, problem)
    return result


def optimizer(run: Run) -> Result:
    return Result(passed=1, timings=child(run, "optimizer")["timings"])


def training_step(run: Run) -> Result:
    return Result(passed=1, timings=child(run, "training_step")["timings"])


def step_timings(run: Run) -> Result:
    return Result(passed=1, timings=child(run, "step_timings")["timings"])


def compiling(run: Run) -> Result:
    """Every kernel once with an empty cache and once with a full one: what compiling costs."""
    seconds, countdown = [], Countdown(run.limit)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            start = time.perf_counter()
            limited = replace(run, limit=countdown.left(run.limit))
            each_kernel(limited, [], {"CUPY_CACHE_DIR": folder})
            seconds.append(time.perf_counter() - start)
    timing = {"cold_s": seconds[0], "warm_s": seconds[1]}
    return Result(passed=1, timings={COMPILING: timing})


def memcheck(run: Run) -> Result:
    return sanitized(run, "memcheck")


def racecheck(run: Run) -> Result:
    return sanitized(run, "racecheck")


# In the order in which they run: first what is short, so that a long one cannot take its time. The
# limits are together more than TOTAL: whatever comes first on a machine compiles kernels, too.
LIMITS: dict[Callable[[Run], Result], float] = {
    training: 45,
    products: 30,
    step: 90,
    streaming: 45,
    optimizer: 20,
    training_step: 20,
    step_timings: 60,
    parity: 80,
    suite: 170,
    compiling: 50,
    memcheck: 45,
    racecheck: 45,
}
NAMES = [part.__name__ for part in LIMITS]


# How they are run


def command(arguments: Sequence[str], limit: float, extra: dict[str, str] | None = None) -> Any:
    """Run a command in the checkout: (exit status, output). At the limit all its processes end."""
    if limit <= 0:
        raise Failed("not run: no time was left")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path} | (extra or {})
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failed(f"no result after {limit:.0f} s") from None
        return process.returncode, output


def child(run: Run, name: str) -> dict[str, Any]:
    """What a function of benchmarks.parts returns, in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.parts", name, run.place]
    status, output = command(arguments, run.limit)
    if status:
        raise Failed(f"exit status {status}\n{output[-TAIL:]}")
    return json.loads(output.strip().splitlines()[-1])


def each_kernel(run: Run, prefix: Sequence[str], extra: dict[str, str] | None = None) -> None:
    script = str(Path("tests", "gpu", "parity.py"))
    options = ["--sim"] if run.place == "sim" else []
    status, output = command([*prefix, sys.executable, script, *options], run.limit, extra)
    if status:
        raise Failed(f"exit status {status}\n{output[-TAIL:]}")


def sanitized(run: Run, tool: str) -> Result:
    program = sanitizer()
    if program is None:
        return Result(note="not installed")
    each_kernel(run, [program, f"--tool={tool}", "--error-exitcode=86"])
    return Result(passed=1)


def sanitizer() -> str | None:
    """compute-sanitizer: on PATH, or in the CUDA toolkit that the environment names."""
    toolkits = [os.environ.get(name) for name in ("CUDA_PATH", "CUDA_HOME")]
    folders = [str(Path(folder, "bin")) for folder in toolkits if folder]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(folders)
    )


def pytest_result(run: Run, tests: Path, *options: str) -> Result:
    """Run the tests that take a device; counts and reasons come from pytest's JUnit file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        arguments = [sys.executable, "-m", "pytest", "-p", "benchmarks.on_device"]
        arguments += [
            "-p",
            "no:cacheprovider",
            "--gpunet-device",
            run.place,
            f"--junitxml={report}",
        ]
        arguments += [
            *(["--gpunet-require-gpu"] if run.place == "cuda" else []),
            str(tests),
            *options,
        ]
        status, output = command(arguments, run.limit)
        if status not in (0, 1) or not report.is_file():
            raise Failed(f"pytest ended with {status}\n{output[-TAIL:]}")
        return counted(report.read_text("utf-8"))


def counted(xml: str) -> Result:
    """The counts of a JUnit file. A test expected to fail, that failed, has passed."""
    result = Result()
    for case in ET.fromstring(xml).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        wrong = [e for e in case if e.tag in ("failure", "error")]
        skip = case.find("skipped")
        if wrong:
            result.check(name, (wrong[0].get("message") or "failed").split("\n")[0])
        elif skip is not None and skip.get("type") != "pytest.xfail":
            result.skipped += 1
            reason = skip.get("message") or "no reason given"
            if reason == "collection skipped":  # a whole module: pytest puts the reason elsewhere
                reason = skip.text or reason
            result.skips[reason] = result.skips.get(reason, 0) + 1
        else:
            result.check(name, "")
    if not result.passed:
        result.check("pytest", "no test passed")
    return result


def outcome(part: Callable[[Run], Result], run: Run) -> Result:
    """The part's result; a crash or a time-out is one failure."""
    start = time.perf_counter()
    try:
        result = part(run)
    except Exception as error:
        result = Result()
        known = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        result.check(part.__name__, known)
    result.seconds = round(time.perf_counter() - start, 2)
    return result


# The record


def commit(given: str | None) -> dict[str, Any]:
    """The commit, and whether files differ from it: None where that cannot be told."""
    if given:
        return {"commit": given, "dirty": None}
    if not (ROOT / ".git").exists():  # else git would answer for a repository around this folder
        return {"commit": "unknown", "dirty": None}
    head = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return {"commit": head or "unknown", "dirty": None if status is None else bool(status)}


def git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def record(about: dict[str, Any], results: dict[str, Result]) -> dict[str, Any]:
    """One dictionary for the file: totals first, then each part."""
    left_out = [name for name in NAMES if name not in results]
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
        "parts": {name: asdict(result) for name, result in results.items()},
    }


def file_name(about: dict[str, Any]) -> str:
    device = re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-")
    return f"{about['date'][:10]}_{device}_{about['commit'][:10]}.json"


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    slower = SLOWER if options.device == "sim" else 1
    countdown = Countdown(TOTAL * slower)
    run = Run(options.device, options.tests, options.parity, countdown.left(DEVICE_LIMIT * slower))
    try:
        about = child(run, "device")
    except Failed as error:
        first, *rest = str(error).strip().splitlines()
        about = {"problem": ": ".join([first, *rest[-1:]])}
    if "problem" in about:
        print(f"no usable GPU: {about['problem']}; nothing was run, nothing written")
        return NO_DEVICE
    now = datetime.now(timezone.utc).replace(microsecond=0)
    about = {"date": now.isoformat(), **about, **commit(options.commit)}
    results = {}
    for part, limit in LIMITS.items():
        if part.__name__ in options.only:
            limit = countdown.left(limit * slower)
            result = outcome(part, Run(options.device, options.tests, options.parity, limit))
            results[part.__name__] = result
            print(_line(part.__name__, result), flush=True)
    found = record(about, results)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / file_name(about)
    write_atomically(file, (json.dumps(found, indent=1) + "\n").encode())
    for line in [*found["failures"], *(f"skipped: {reason}" for reason in found["skips"])]:
        print(line)
    counts = ", ".join(f"{found[k]} {k}" for k in ("passed", "failed", "skipped"))
    print(f"{about['device']}: {counts}, {found['seconds']:.0f} s; written to {file}")
    return 0 if found["ok"] else 1


def _line(name: str, r: Result) -> str:
    counts = f"{r.passed} passed, {r.failed} failed, {r.skipped} skipped"
    return f"{name:<14} {counts}, {r.seconds:.1f} s{f' ({r.note})' if r.note else ''}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify_gpu")
    parser.add_argument("--out", type=Path, help="folder of the JSON (default: benchmarks/results)")
    parser.add_argument("--device", choices=("cuda", "sim"), default="cuda")
    parser.add_argument("--commit", help="the commit, for a copy that git does not know")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="PART")
    parser.add_argument("--tests", type=Path, default=Path("tests"), help=argparse.SUPPRESS)
    parser.add_argument("--parity", type=Path, default=PARITY, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    simulated = options.device == "sim"
    if simulated and options.out and options.out.resolve() == RESULTS:
        parser.error("a run on the simulated GPU is no GPU result: give another --out")
    default = Path(tempfile.gettempdir(), "gpunet-verify-sim") if simulated else RESULTS
    options.out = options.out or default
    return options


if __name__ == "__main__":
    sys.exit(main())

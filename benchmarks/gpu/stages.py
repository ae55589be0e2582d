"""The stages of verify_gpu: what each does, in which part it runs, and how long it may take."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.gpu.processes import (
    Failed,
    Result,
    child,
    each_kernel,
    pytest_result,
    sanitizer,
)

COMPILING = "each kernel once, in a new process"
# CuPy asks the driver whose a pointer is, and may be told that it is nobody's: no error of ours.
NO_API_ERRORS = "--report-api-errors=no"


@dataclass(frozen=True)
class Run:
    """What a stage is told: the place (cuda or sim), the tests, a limit in seconds or none."""

    place: str
    tests: Path
    parity: Path
    limit: float | None


@dataclass(frozen=True)
class Stage:
    """What runs under `name` in the part (1 or 2) of verify_gpu, for `limit` seconds at most."""

    name: str
    part: int
    limit: float
    work: Callable[[Run], Result]

    def outcome(self, run: Run) -> Result:
        """The stage's result; a crash or a time-out is one failure."""
        start = time.perf_counter()
        try:
            result = self.work(run)
        except Exception as error:
            result = Result()
            known = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            result.check(self.name, known)
        result.seconds = round(time.perf_counter() - start, 2)
        return result


def checked(name: str) -> Callable[[Run], Result]:
    """The checks that a function of benchmarks.gpu made, and its timings if it has some."""

    def work(run: Run) -> Result:
        found = child(name, run.place, run.limit)
        result = Result(timings=found.get("timings", {}))
        for what, problem in found["checks"].items():
            result.check(what, problem)
        return result

    return work


def timed(name: str) -> Callable[[Run], Result]:
    """The timings that a function of benchmarks.gpu took."""

    def work(run: Run) -> Result:
        return Result(passed=1, timings=child(name, run.place, run.limit)["timings"])

    return work


def parity(run: Run) -> Result:
    return pytest_result(run.place, run.limit, run.parity)


def suite(run: Run) -> Result:
    return pytest_result(run.place, run.limit, run.tests, f"--ignore={run.parity}")


def compiling(run: Run) -> Result:
    """Every kernel once with an empty cache and once with a full one: what compiling costs."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            start = time.perf_counter()
            left = None if run.limit is None else run.limit - sum(seconds)
            each_kernel(run.place, left, extra={"CUPY_CACHE_DIR": folder})
            seconds.append(time.perf_counter() - start)
    timing: dict[str, Any] = {"cold_s": seconds[0], "warm_s": seconds[1]}
    return Result(passed=1, timings={COMPILING: timing})


def beside(run: Run) -> Result:
    """The small workloads beside PyTorch and JAX, those that are installed; it writes a record of
    its own (benchmarks.peers).
    """
    there = [name for name in ("torch", "jax") if find_spec(name) is not None]
    if run.place != "cuda" or not there:
        return Result(note="no GPU" if run.place != "cuda" else "neither PyTorch nor JAX")
    command = [sys.executable, "-m", "benchmarks.peers", "W1", "W2", "W5", "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=run.limit)
    if done.returncode:
        raise Failed(f"benchmarks.peers ended with {done.returncode}: {done.stderr[-2000:]}")
    return Result(passed=1, note=", ".join(there))


def sanitized(tool: str, *options: str) -> Callable[[Run], Result]:
    """A tool of compute-sanitizer over a few kernels of each kind."""

    def work(run: Run) -> Result:
        program = sanitizer()
        if program is None:
            return Result(note="not installed")
        prefix = [program, f"--tool={tool}", *options, "--error-exitcode=86"]
        each_kernel(run.place, run.limit, prefix, ["--few"])
        return Result(passed=1)

    return work


# In the order in which they run: what is right before what is fast, short before long.
STAGES = (
    Stage("training", 1, 40, checked("training")),
    Stage("products", 1, 30, checked("products")),
    Stage("step", 1, 90, checked("step")),
    Stage("parity", 1, 90, parity),
    Stage("suite", 1, 220, suite),
    Stage("memcheck", 2, 60, sanitized("memcheck", NO_API_ERRORS)),
    Stage("racecheck", 2, 60, sanitized("racecheck")),
    Stage("streaming", 2, 40, checked("streaming")),
    Stage("optimizer", 2, 20, timed("optimizer")),
    Stage("training_step", 2, 20, timed("training_step")),
    Stage("step_timings", 2, 80, timed("step_timings")),
    Stage("phases", 2, 60, timed("phases")),
    Stage("beside", 2, 150, beside),
    Stage("compiling", 2, 60, compiling),
)

"""A stage's work in processes of its own, each with a limit: functions of benchmarks.gpu, pytest
over the tests that take a device, and every kernel once, under compute-sanitizer if wished.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.records import ROOT

EACH_KERNEL = Path("tests", "gpu", "parity.py")
WORKERS = 8  # of pytest-xdist: the suite compiles some hundred kernels, one after the other
TAIL = 2000  # characters of a failed command's output that are kept


class Failed(Exception):
    """A stage that gave no result; the message is what is known."""


@dataclass
class Result:
    """What a stage found. `note` says what is to know beside the counts."""

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


def command(
    arguments: Sequence[str], limit: float | None, extra: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run a command in the checkout: (exit status, output). At the limit, if there is one, all its
    processes end.
    """
    if limit is not None and limit <= 0:
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


def child(name: str, place: str, limit: float | None) -> dict[str, Any]:
    """What a function of benchmarks.gpu returns."""
    status, output = command([sys.executable, "-m", "benchmarks.gpu", name, place], limit)
    if status:
        raise Failed(f"exit status {status}\n{output[-TAIL:]}")
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def each_kernel(
    place: str,
    limit: float | None,
    prefix: Sequence[str] = (),
    options: Sequence[str] = (),
    extra: dict[str, str] | None = None,
) -> None:
    """Every kernel once, each beside its reference; `prefix` stands before the command."""
    own = [*options, *(["--sim"] if place == "sim" else [])]
    status, output = command([*prefix, sys.executable, str(EACH_KERNEL), *own], limit, extra)
    if status:
        raise Failed(f"exit status {status}\n{output[-TAIL:]}")


def sanitizer() -> str | None:
    """compute-sanitizer: on PATH, or in the CUDA toolkit that the environment names."""
    toolkits = [os.environ.get(name) for name in ("CUDA_PATH", "CUDA_HOME")]
    folders = [str(Path(folder, "bin")) for folder in toolkits if folder]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(folders)
    )


def pytest_result(place: str, limit: float | None, tests: Path, *options: str) -> Result:
    """Run the tests that take a device; counts and reasons come from pytest's JUnit file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        arguments = [sys.executable, "-m", "pytest", "-p", "benchmarks.on_device"]
        arguments += ["-p", "no:cacheprovider", "--gpunet-device", place]
        arguments += ["--gpunet-require-gpu"] if place == "cuda" else []
        arguments += [*workers(), f"--junitxml={report}", str(tests), *options]
        status, output = command(arguments, limit)
        if status not in (0, 1) or not report.is_file():
            raise Failed(f"pytest ended with {status}\n{output[-TAIL:]}")
        return counted(report.read_text("utf-8"))


def workers() -> list[str]:
    """Options for several processes, where pytest-xdist is there."""
    if importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", str(min(WORKERS, os.cpu_count() or 1))]


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

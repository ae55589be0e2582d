"""Run Python under AddressSanitizer, so that a kernel's memory errors are reported with their line.

    python -m gpunet.testing.simgpu.asan -m pytest tests/test_optim.py
    python -m gpunet.testing.simgpu.asan script.py arguments...
    python -m gpunet.testing.simgpu.asan tests/test_optim.py -k adam      # pytest's arguments

Arguments go to Python where the first is `-m`, `-c` or a script (`*.py` that is not a test file),
and else to pytest. Kernels are compiled with `-fsanitize=address`, and each device allocation is a
heap block of its own and of exactly its size. A kernel that reads or writes outside of an array
(not of a view, which shares its array's block), of a `__shared__` variable or of dynamic shared
memory ends the process with a report that names the kernel's source line. The exit status is then
`EXIT_STATUS`.

Needs g++ with libasan. A program runs 2 to 20 times slower than without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gpunet.cxx import CXX

EXIT_STATUS = 99
_OPTIONS = {
    "detect_leaks": "0",  # Python itself never frees all it has
    "exitcode": str(EXIT_STATUS),
    "allocator_may_return_null": "1",
    "detect_odr_violation": "0",  # two kernels' libraries may well have a global of one name
    "handle_segv": "1",
    "color": "never",
}


def library() -> str | None:
    """The path of g++'s libasan, or None where there is none."""
    compiler = shutil.which(CXX)
    if compiler is None:
        return None
    command = [compiler, "-print-file-name=libasan.so"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    # A compiler without it answers with the bare name.
    return os.path.realpath(found) if os.path.isabs(found) and Path(found).is_file() else None


def environment() -> dict[str, str]:
    """This process's environment with what a Python under AddressSanitizer needs.

    Raises RuntimeError where libasan is missing.
    """
    path = library()
    if path is None:
        raise RuntimeError("AddressSanitizer needs g++ and its libasan, which are not found")
    preload = " ".join(filter(None, [path, os.environ.get("LD_PRELOAD")]))
    return {
        **os.environ,
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": ":".join(f"{name}={value}" for name, value in _OPTIONS.items()),
        "PYTHONMALLOC": "malloc",  # else Python's own allocator hides blocks from the sanitizer
        "GPUNET_SIM_ASAN": "1",
    }


def command_line(arguments: Sequence[str]) -> list[str]:
    """The Python command for `arguments` (a script, `-m`, `-c`, or pytest's arguments)."""
    first = arguments[0] if arguments else ""
    file = Path(first)
    is_test = file.stem.startswith("test_") or file.stem.endswith("_test")  # pytest's own rule
    is_script = file.suffix == ".py" and not is_test
    if first not in ("-m", "-c") and not is_script:
        arguments = ["-m", "pytest", *arguments]
    if list(arguments[:2]) == ["-m", "pytest"]:
        # The report goes to file descriptor 2 and ends the process: pytest must not hold it back.
        arguments = ["-m", "pytest", "--capture=sys", *arguments[2:]]
    return [sys.executable, *arguments]


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python on `arguments` under AddressSanitizer and return its status and output."""
    return subprocess.run(
        command_line(arguments), env=environment(), capture_output=True, text=True, check=False
    )


def main() -> int:
    """Run what the command line says; returns its exit status."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    return subprocess.run(command_line(sys.argv[1:]), env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

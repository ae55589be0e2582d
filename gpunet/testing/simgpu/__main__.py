"""Run a CuPy program on the simulated GPU, and print what it launched, copied and waited for.

python -m gpunet.testing.simgpu program.py ARGS...
python -m gpunet.testing.simgpu -m module ARGS...
"""

from __future__ import annotations

import runpy
import sys
from collections import Counter
from pathlib import Path

from . import activate, count, trace
from .counters import NAMES

MOST = 20  # kernels named


def main() -> None:
    """Run what the command line says; its exit status is the program's."""
    arguments = sys.argv[1:]
    is_module = arguments[:1] == ["-m"]
    if len(arguments) < 1 + is_module:
        print(__doc__)
        sys.exit(2)
    sys.argv = arguments[is_module:]
    with activate(), count() as counters, trace() as calls:
        try:
            if is_module:
                runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
            else:
                sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
                runpy.run_path(sys.argv[0], run_name="__main__")
        finally:
            sys.stdout.flush()
    kernels = Counter(call.name for call in calls if call.kind == "kernel")
    print("simulated GPU:", file=sys.stderr)
    for name in NAMES:
        if value := getattr(counters, name):
            print(f"{value:12,d} {name.replace('_', ' ')}", file=sys.stderr)
    for kernel, times in kernels.most_common(MOST):
        print(f"{times:12,d} x {kernel}", file=sys.stderr)


if __name__ == "__main__":
    main()

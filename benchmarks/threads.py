"""How many threads a benchmark's libraries use; loads nothing, for NumPy reads it when it loads."""

from __future__ import annotations

import os
import sys

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def limit(threads: int, device: str) -> None:
    """Start this program anew, with the same arguments, where it has other numbers of threads.

    On a CPU it keeps to as many cores, too, for libraries that go by the cores.
    """
    wanted = dict.fromkeys(POOLS, str(threads))
    wanted["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # JAX is not alone on the GPU
    wanted["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # else its helpers stay beside the others
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

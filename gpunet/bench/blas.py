"""Which BLAS a measurement rests on, and whether something holds it back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from gpunet import threads

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # OpenBLAS reads them when it is loaded
TELLING = "from gpunet import threads; print('\\n'.join(threads.kernels()))"
TIMEOUT = 60.0  # seconds


def pinned() -> str:
    """A warning where the environment makes OpenBLAS take other kernels than the processor's own,
    or cut its products otherwise; else "". NumPy's products then take up to twice their time, and
    those of libraries with a BLAS of their own do not.
    """
    given = [f"{name}={os.environ[name]}" for name in PINS if os.environ.get(name)]
    now, own = threads.kernels(), _own() if given else []
    if not given or not now or (now == own and len(given) == 1 and PINS[0] in given[0]):
        return ""
    where = f", and this processor's own are {', '.join(own)}" if own and own != now else ""
    return (
        f"WARNING: {' and '.join(given)}: BLAS runs {', '.join(now)} kernels{where}. "
        "NumPy's products, and so gpunet's steps, are slower than they need to be: "
        f"env -u {' -u '.join(PINS)} ..."
    )


def _own() -> list[str]:
    """The kernels that BLAS takes where nothing is set, asked in a process of its own; [] where
    that cannot be told.
    """
    free = {name: value for name, value in os.environ.items() if name not in PINS}
    command: Sequence[str] = (sys.executable, "-c", TELLING)
    try:
        done = subprocess.run(
            command, env=free, capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split("\n")[:-1]

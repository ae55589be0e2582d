"""Whether this process runs under AddressSanitizer, and what that asks of the compiler.

`asan.py` starts such a process; every kernel is then compiled with `FLAGS`, and every device
allocation is a heap block of its own.
"""

from __future__ import annotations

import os

FLAGS = ("-fsanitize=address", "-g", "-O1", "-fno-omit-frame-pointer")


def wanted() -> bool:
    """Whether `GPUNET_SIM_ASAN=1` asks for it."""
    return os.environ.get("GPUNET_SIM_ASAN", "") not in ("", "0")

"""The lock of the library: fastrlock's where it is installed, which a thread takes faster, else
Python's own. CuPy brought fastrlock until version 14; a machine may have CuPy alone.
"""

from __future__ import annotations

try:
    from fastrlock.rlock import FastRLock as RLock
except ImportError:
    from threading import RLock

__all__ = ["RLock"]

"""Ctrl-C, and the signals that ask a process to end, between two steps instead of inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

REQUESTS = ("SIGTERM", "SIGHUP")  # by name: Windows has no SIGHUP


class DeferredInterrupt:
    """Inside `with`, the first Ctrl-C, SIGTERM or SIGHUP only sets `requested`.

    A second Ctrl-C interrupts as usual. A second SIGTERM or SIGHUP does no more than the first, for
    a terminal that closes, and a job that is cancelled, send several. A handler of the program's
    own is called as well: for Ctrl-C the second time, for the others each time.

    Signals reach the main thread only: in another one this does nothing; nor does it where a signal
    is ignored (`nohup`), or Ctrl-C left to the system.

    signal: the number of the first, or None.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal: int | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            known = [getattr(signal, name) for name in REQUESTS if hasattr(signal, name)]
            for number in (signal.SIGINT, *known):
                old = signal.getsignal(number)
                if callable(old) or (old is signal.SIG_DFL and number in known):
                    self._old[number] = old
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        self.signal = self.signal or number
        old = self._old[number]
        if callable(old) and (again or number != signal.SIGINT):
            old(number, frame)

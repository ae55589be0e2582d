"""gpunet.study.processes: half of a task in a process that is forked off."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from gpunet.study.processes import both

forks = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def here() -> bytes:
    return str(os.getpid()).encode()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other test has left a thread."""
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])


@forks
def test_the_first_is_done_by_another_process(alone: None) -> None:
    first, second = both(here, here)
    assert (first != here(), second == here()) == (True, True)
    long = bytes(10**6)  # more than a pipe holds
    assert both(lambda: long, lambda: b"x") == (long, b"x")


def test_beside_other_threads_nothing_is_forked() -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert both(here, here) == (here(), here())
    finally:
        done.set()
        other.join()


@forks
def test_what_fails_there_fails_here_and_what_was_ended_is_done_again(
    alone: None, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> bytes:
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        both(fail, here)
    test = os.getpid()

    def die() -> bytes:
        if os.getpid() != test:
            os.kill(os.getpid(), signal.SIGKILL)
        return b"done"

    assert both(die, here) == (b"done", here())
    assert capfd.readouterr() == ("", "")


@forks
def test_ctrl_c_ends_both(alone: None, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> bytes:
        os.kill(0, signal.SIGINT)  # as a terminal does: every process hears it
        time.sleep(10)
        return b""

    before, group = time.monotonic(), os.getpgrp()
    if group != os.getpid():
        pytest.skip("the signal would reach others")
    with pytest.raises(KeyboardInterrupt):
        both(lambda: time.sleep(20) or b"", interrupted)
    assert time.monotonic() - before < 5
    assert capfd.readouterr() == ("", "")

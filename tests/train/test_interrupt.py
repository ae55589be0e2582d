"""Ctrl-C: between two steps, with what was trained so far; and at once the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.train.interrupt import DeferredInterrupt

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)


pytestmark = pytest.mark.usefixtures("ctrl_c")


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_first_is_noted_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_the_handler_comes_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), DeferredInterrupt():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_another_handler_gets_the_second() -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with DeferredInterrupt() as interrupt:
            press()
            assert heard == []
            press()
        assert heard == [signal.SIGINT]
        assert interrupt.requested
    finally:
        signal.signal(signal.SIGINT, before)


REQUESTS = [signal.SIGTERM] if os.name == "nt" else [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", REQUESTS)
def test_a_request_to_end_is_a_first_ctrl_c(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with DeferredInterrupt() as interrupt:
        signal.raise_signal(number)
        assert (interrupt.requested, interrupt.signal) == (True, number)
        signal.raise_signal(number)  # a terminal that closes sends several
        with pytest.raises(KeyboardInterrupt):
            press()
        assert interrupt.signal == number
    assert signal.getsignal(number) is before


def test_a_handler_of_the_program_s_own_hears_of_a_request() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with DeferredInterrupt() as outer, DeferredInterrupt() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert (outer.requested, inner.requested, heard) == (True, True, [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_ignored_request_stays_ignored() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with DeferredInterrupt() as interrupt:
            signal.raise_signal(signal.SIGTERM)
        assert not interrupt.requested
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_ignored_and_default_stay_so(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with DeferredInterrupt():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_trains_without_signals() -> None:
    found = []

    def train() -> None:
        model = gn.MLP([3, 4, 2])
        fitted = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
        found.append(fitted.fit((X, LABELS), epochs=2).stopped)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == ["all epochs done"]


# Inside a training


class PressAt(gn.Layer):
    """Presses Ctrl-C in its n-th training call."""

    def __init__(self, n: int) -> None:
        self.n, self.calls_so_far = n, 0

    def call(self, x: gn.Tensor) -> gn.Tensor:
        self.calls_so_far += self.training
        if self.training and self.calls_so_far == self.n:
            press()
        return x


def fit(press_at: int, **options: Any) -> gn.Trainer:
    gn.seed(0)
    model = gn.Sequential(PressAt(press_at), gn.Affine(3, 8), gn.ReLU(), gn.Affine(8, 2))
    optimizer = gn.Adam(model.parameters(), lr=0.3)
    fitted = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, **options)
    fitted.fit((X, LABELS), (X[:7], 1 - LABELS[:7]), epochs=4, batch_size=5)
    return fitted


def weights(fitted: gn.Trainer) -> list[Any]:
    return [p.data.copy() for p in fitted.model.parameters()]


@pytest.mark.parametrize(
    ("press_at", "rows", "updates"),
    [(1, 0, 1), (3, 0, 3), (4, 1, 4), (5, 1, 5), (14, 3, 14), (16, 4, 16)],
)
@pytest.mark.parametrize("on_nonfinite", ["raise", "ignore"])
def test_what_was_trained_so_far_is_kept(
    press_at: int, rows: int, updates: int, on_nonfinite: str
) -> None:
    fitted = fit(press_at, on_nonfinite=on_nonfinite)
    history = fitted.history
    assert history.stopped == "interrupted"
    assert (len(history), fitted.optimizer.t) == (rows, updates)
    whole = fit(0)
    assert history["train_loss"] == whole.history["train_loss"][:rows]


def test_the_best_weights_come_back() -> None:
    """The validation labels are upside down, so that the first epoch is the best."""
    after_one = fit(4)
    assert after_one.history.kept == 1
    for press_at in (7, 13, 16):
        fitted = fit(press_at)
        assert fitted.history.kept == fitted.history.best_epoch == 1
        assert fitted.evaluate((X[:7], 1 - LABELS[:7]))["loss"] == fitted.history["valid_loss"][0]
        for a, b in zip(weights(fitted), weights(after_one), strict=True):
            np.testing.assert_array_equal(a, b)
    assert fit(0).history.kept == 4  # and stay away without Ctrl-C


def test_a_callback_hears_of_it() -> None:
    heard: list[bool] = []

    class Listener(gn.Callback):
        def on_end(self, trainer: gn.Trainer, interrupted: bool) -> None:
            heard.append(interrupted)

    fit(6, callbacks=[Listener()])
    fit(0, callbacks=[Listener()])
    assert heard == [True, False]


def test_ctrl_c_in_a_callback_ends_the_epoch() -> None:
    class Presser(gn.Callback):
        def on_epoch(self, trainer: gn.Trainer, row: dict[str, Any]) -> None:
            press()

    fitted = fit(0, callbacks=[Presser()])
    assert (len(fitted.history), fitted.history.stopped) == (1, "interrupted")


# A real signal, from another process

CHILD = """
import signal, sys, time
import numpy as np
import gpunet as gn

signal.signal(signal.SIGINT, signal.default_int_handler)

class Slow(gn.Layer):
    def call(self, x):
        if self.training:
            print("step", flush=True)
            time.sleep(float(sys.argv[1]))
        return x

model = gn.Sequential(Slow(), gn.Affine(3, 2))
trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
history = trainer.fit((np.ones((2000, 3)), np.zeros(2000, int)), epochs=1000, batch_size=2000)
print("ended", history.stopped, len(history) > 0, flush=True)
"""


def child(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(gn.__file__).parents[1])},
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, *REQUESTS])
def test_a_signal_from_outside(number: signal.Signals) -> None:
    with child(0.01) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline() == "step\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.splitlines()[-1] == "ended interrupted True"
    assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
def test_the_second_ctrl_c_does_not_wait_for_the_step() -> None:
    with child(60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # it sleeps on inside its step
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "ended" not in out
    assert err.rstrip().endswith("KeyboardInterrupt")

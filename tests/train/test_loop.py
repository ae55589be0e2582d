"""gpunet.train.loop: what an epoch costs, and what its bar shows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.testing import simgpu
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups
from gpunet.train.loop import LOOK_EVERY
from gpunet.train.progress import Progress
from gpunet.train.updates import updating
from tests.train.trainings import LABELS, X, mlp, trainer


def test_no_read_of_the_device_in_a_step(sim: Any) -> None:
    """One read for each LOOK_EVERY steps and a few an epoch, however many steps there are."""

    def reads(steps: int, **options: Any) -> int:
        x = np.ones((2 * steps, 5), np.float32)
        model = mlp("cuda", np.float32, batch_norm=True, dropout=0.5)
        fitted = trainer(model, gn.SoftmaxWithLoss(), progress=True, **options)
        t = np.zeros(2 * steps, np.int64)
        fitted.fit((x, t), (x[:5], t[:5]), epochs=1, batch_size=2)  # kernels are built
        with simgpu.count() as counters:
            fitted.fit((x, t), (x[:5], t[:5]), epochs=1, batch_size=2)
        # A copy to the device waits too, so what is left is copies to the host.
        return int(counters.d2h_copies)

    few = reads(10)
    assert few < 10
    assert reads(40) == few
    assert reads(LOOK_EVERY * 2 + 10) == few + 2
    assert reads(60, on_nonfinite="ignore") == reads(10, on_nonfinite="ignore") < few


def test_no_wait_for_the_device_in_a_step(sim: Any) -> None:
    def waits(steps: int) -> int:
        x, t = np.ones((2 * steps, 5), np.float32), np.zeros(2 * steps, np.int64)
        fitted = trainer(mlp("cuda", np.float32, batch_norm=True, dropout=0.5))
        fitted.fit((x, t), epochs=1, batch_size=2)
        fitted.fit((x, t), epochs=1, batch_size=2)
        with simgpu.count() as counters:
            fitted.fit((x, t), epochs=1, batch_size=2)
        return int(counters.synchronisations)

    assert waits(20) == waits(40) == waits(3 * LOOK_EVERY + 7)


def test_an_epoch_from_the_device_costs_the_same_however_many_batches_it_has(sim: Any) -> None:
    """Copies to the device: the order, handed over whole, its sizes, and where it begins."""

    def used(updates: int) -> Any:
        x, t = np.ones((2 * updates, 5), np.float32), np.zeros(2 * updates, np.int64)
        fitted = trainer(mlp("cuda", np.float32), gn.SoftmaxWithLoss())
        for _ in range(2):
            fitted.fit((x, t), epochs=1, batch_size=2)
        groups = Groups(Feed((x, t), fitted.model, fitted.loss, "x"), 2, 0, 1, False, 1)
        step = gn.Step(fitted.model, fitted.loss, fitted.optimizer)
        updates_ = updating(step, Feed((x, t), fitted.model, fitted.loss, "x"), "auto")
        for epoch in range(2):
            for _ in updates_.run(groups.of(epoch), Progress({}, 1, epoch + 1)):
                pass
        with simgpu.count() as counters:
            for _ in updates_.run(groups.of(2), Progress({}, 1, 3)):
                pass
        return counters

    few, many = used(2 * LOOK_EVERY), used(4 * LOOK_EVERY)
    assert (few.graph_launches, many.graph_launches) == (2, 4)
    assert few.launches == many.launches == 0
    assert few.h2d_copies == many.h2d_copies
    assert few.d2d_copies == many.d2d_copies == 0


def test_the_bar_updates_by_time(capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp()
    history = trainer(model, progress=True).fit((X, LABELS), epochs=30, batch_size=1)
    drawn = capsys.readouterr().err.count("\r")
    assert 1 < drawn <= 6 + sum(history["seconds"]) / 0.1  # 690 steps


def test_the_bar_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(gn.Callback):
        def on_epoch(self, trainer: gn.Trainer, row: dict[str, Any]) -> None:
            import time

            time.sleep(0.11)

    fitted = trainer(mlp(), progress=True, callbacks=[Slow()])
    fitted.fit((X, LABELS), (X, LABELS), epochs=3, batch_size=None)
    written = capsys.readouterr().err
    assert "epoch 2/3" in written
    assert " 67%|" in written  # of the steps in all
    assert re.search(r", loss \d\.\d+, valid \d\.\d+, \d\d\.\d% right", written)


@pytest.mark.parametrize("progress", [None, False])
def test_no_bar_where_nobody_looks(
    progress: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(mlp(), progress=progress).fit((X, LABELS), epochs=2)
    assert capsys.readouterr().err == ""

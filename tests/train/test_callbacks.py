"""gpunet.train.callbacks by hand-made losses; tests of the whole loop are in test_trainer.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.train.snapshot import Snapshot


class Stage:
    """A trainer as far as callbacks see one: its weight is the number of the epoch."""

    def __init__(self, device: str = "cpu") -> None:
        self.model = gn.Sequential(gn.Affine(1, 1), gn.BatchNorm(1)).to(device)
        self.history = gn.History()

    def snapshot(self) -> Snapshot:
        return Snapshot(self.model)

    def play(self, callback: Any, losses: list[float], name: str = "valid_loss") -> tuple[int, Any]:
        """(epochs played, the reason)."""
        callback.on_start(self)
        reason = None
        for epoch, loss in enumerate(losses, 1):
            self.model[0].W.data = np.full((1, 1), epoch, np.float32)
            self.model[1].running_mean[...] = -epoch
            self.history.rows.append({"epoch": epoch, name: loss})
            reason = callback.on_epoch(self, self.history.rows[-1])
            if reason:
                break
        return len(self.history), reason

    @property
    def weight(self) -> float:
        weight = float(to_host(self.model[0].W.data)[0, 0])
        assert weight == -float(to_host(self.model[1].running_mean)[0])
        return weight


@pytest.mark.parametrize(
    ("options", "losses", "epochs", "best"),
    [
        ({"patience": 2}, [3, 2, 2, 2, 1], 4, 2),
        ({"patience": 2}, [3, 2, 2.5, 1, 1, 1, 0], 6, 4),
        ({"patience": 1}, [3, 3], 2, 1),
        ({"patience": None}, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2], 13, 1),
        ({}, [1] + [2] * 20, 11, 1),
        # A slow fall adds up: 3 -> 2.6 is too little, 3 -> 2.4 is not.
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.4, 2.2, 2.0], 5, 3),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.5, 2.5], 3, 1),
        ({"patience": 2}, [np.inf, np.nan, 1], 2, None),
        ({"patience": 3}, [np.inf, np.nan, 1, 2], 4, 3),
    ],
)
def test_early_stopping(
    options: dict[str, Any], losses: list[float], epochs: int, best: int | None, device: str
) -> None:
    stage, stopping = Stage(device), gn.EarlyStopping(**options)
    played, reason = stage.play(stopping, losses)
    assert (played, stopping.best_epoch) == (epochs, best)
    assert (reason is None) == (stopping._waited != options.get("patience", 10))
    assert stage.weight == epochs
    stopping.on_end(stage, False)  # type: ignore[arg-type]
    assert stage.weight == (best or epochs)
    assert stage.history.kept == best


@pytest.mark.parametrize(
    ("restore", "interrupted", "weight"),
    [(True, False, 1), (True, True, 1), (False, False, 3), (False, True, 1)],
)
def test_restore_best(restore: bool, interrupted: bool, weight: int) -> None:
    stage, stopping = Stage(), gn.EarlyStopping(None, restore_best=restore)
    stage.play(stopping, [1, 2, 2])
    stopping.on_end(stage, interrupted)  # type: ignore[arg-type]
    assert stage.weight == weight


def test_stop_at_loss() -> None:
    assert Stage().play(gn.StopAtLoss(0.5), [2, 0.6, 0.5, 0.1], "train_loss") == (
        3,
        "training loss reached 0.5",
    )
    assert Stage().play(gn.StopAtLoss(0.5), [2, np.nan], "train_loss") == (2, None)


@pytest.mark.parametrize("patience", [0, -1, 1.5, "3"])
def test_patience_is_checked(patience: Any) -> None:
    with pytest.raises(ValueError, match="patience must be a whole number from 1"):
        gn.EarlyStopping(patience)


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_min_delta_is_checked(value: float) -> None:
    with pytest.raises(ValueError, match="min_delta must be a number from 0"):
        gn.EarlyStopping(min_delta=value)


def test_threshold_is_checked() -> None:
    with pytest.raises(ValueError, match="threshold must be a finite number"):
        gn.StopAtLoss(np.nan)


def test_a_callback_that_overrides_nothing() -> None:
    silent, stage = gn.Callback(), Stage()
    assert stage.play(silent, [1, 2]) == (2, None)
    silent.on_end(stage, True)  # type: ignore[arg-type]
    assert not gn.Callback.needs_valid

"""What watches a training epoch by epoch, and may end it."""

from __future__ import annotations

import math
import os
from typing import Any, ClassVar, Protocol

from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.optim import Optimizer
from gpunet.train.history import History, Row
from gpunet.train.snapshot import Snapshot


class Training(Protocol):
    """What a callback may look at, and the type of its argument: a `Trainer`, as far as it goes."""

    @property
    def model(self) -> Layer: ...

    @property
    def loss(self) -> Loss: ...

    @property
    def optimizer(self) -> Optimizer: ...

    @property
    def history(self) -> History: ...

    @property
    def callbacks(self) -> list[Callback]: ...

    def snapshot(self) -> Snapshot: ...

    def save(self, path: str | os.PathLike[str]) -> None: ...


class Callback:
    """Called by `Trainer.fit`; override what you need. Set `needs_valid` to be refused without
    validation data.
    """

    needs_valid: ClassVar[bool] = False
    settings: ClassVar[tuple[str, ...]] = ()
    """Attributes that must be the same where a training goes on from a file."""

    def on_start(self, trainer: Training) -> None:
        """Before the first epoch of each `fit`."""

    def on_epoch(self, trainer: Training, row: Row) -> str | None:
        """After each epoch, with its row of the history, to which it may add columns; returning a
        reason ends the training.
        """
        return None

    def on_update(self, trainer: Training) -> None:
        """Between two updates, where `trainer.save` may be called: after each (after up to 50 where
        so many are one launch on a GPU, or one call on the CPU), and once more when all callbacks
        have had their `on_epoch`.
        """

    def on_stop(self, trainer: Training) -> None:
        """When no further update follows, after an error too, while the weights are still the last
        ones; not where an update was cut through by a second Ctrl-C.
        """

    def on_end(self, trainer: Training, interrupted: bool) -> None:
        """After the last epoch, also when Ctrl-C ended it; not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint is to keep: numbers, text, arrays; lists, tuples and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`; called after `on_start`, where a training goes on."""


class EarlyStopping(Callback):
    """Stop when the validation loss has not fallen for `patience` epochs.

    Args:
        patience: epochs without a new best before stopping, from 1; None never stops.
        min_delta: a new best is lower by more than this.
        restore_best: end with the weights of the best epoch (after Ctrl-C always so).

    best, best_epoch: the lowest validation loss of this `fit`, and its epoch (None before any).
    """

    needs_valid = True
    settings = ("patience", "min_delta", "restore_best")

    def __init__(
        self, patience: int | None = 10, min_delta: float = 0.0, restore_best: bool = True
    ) -> None:
        if patience is not None and (not isinstance(patience, int) or patience < 1):
            raise ValueError(f"patience must be a whole number from 1, or None, got {patience!r}")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta must be a number from 0, got {min_delta}")
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self._forget()
        self._snapshot: Snapshot | None = None  # of the best epoch, or of the start

    def _forget(self) -> None:
        self.best, self._waited = math.inf, 0
        self.best_epoch: int | None = None

    def on_start(self, trainer: Training) -> None:
        self._forget()
        self._snapshot = trainer.snapshot()

    def on_epoch(self, trainer: Training, row: Row) -> str | None:
        if row["valid_loss"] < self.best - self.min_delta:
            self.best, self.best_epoch, self._waited = row["valid_loss"], row["epoch"], 0
            if self._snapshot is not None:
                self._snapshot.take()
            return None
        self._waited += 1
        if self.patience is not None and self._waited >= self.patience:
            epochs = "epoch" if self.patience == 1 else "epochs"
            return f"no better validation loss for {self.patience} {epochs}"
        return None

    def on_end(self, trainer: Training, interrupted: bool) -> None:
        best = self.best_epoch is not None and (self.restore_best or interrupted)
        if self._snapshot is not None and best:
            self._snapshot.restore()
            trainer.history.kept = self.best_epoch
        self._snapshot = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "weights": self._snapshot.state_dict() if self._snapshot is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._waited = state["waited"]
        if self._snapshot is not None:
            self._snapshot.load_state_dict(state["weights"])

    def __getstate__(self) -> dict[str, Any]:
        """A copy has another model: without the snapshot, which is of this one."""
        return {**vars(self), "_snapshot": None}


class StopAtLoss(Callback):
    """Stop when the training loss of an epoch is at most `threshold`."""

    settings = ("threshold",)

    def __init__(self, threshold: float) -> None:
        if not math.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, got {threshold}")
        self.threshold = threshold

    def on_epoch(self, trainer: Training, row: Row) -> str | None:
        if row["train_loss"] <= self.threshold:
            return f"training loss reached {self.threshold:g}"
        return None

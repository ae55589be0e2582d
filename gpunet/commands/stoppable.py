"""A training of the command line that may be stopped: its checkpoint, and what an error leaves."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import click

import gpunet as gn
from gpunet.files import readable

NAME = "checkpoint.safetensors"


class Stoppable:
    """The training of `trainer` with its checkpoint in the folder `out`.

    Args:
        every: as for `gpunet.Checkpoint`; None writes one only after Ctrl-C.
        resume: go on with the one that is there.
        patience: epochs without a better validation loss before it ends; None: it does not.

    ValueError: it is of another training.
    """

    def __init__(
        self,
        trainer: gn.Trainer,
        out: Path,
        every: int | str | None,
        resume: bool,
        patience: int | None,
    ) -> None:
        self.trainer, self.path, self.every = trainer, out / NAME, every
        self.best = gn.EarlyStopping(patience)
        if self.every is not None:
            trainer.callbacks.append(gn.Checkpoint(self.path, self.every))
        if self.path.exists():
            if resume:
                self._load()
            else:
                _say(f"the training that was stopped in {readable(out)} is begun anew")
        unfinished = trainer.unfinished
        self._before = float(sum(row["seconds"] for row in trainer.history.rows))
        self._before += unfinished.clock() if unfinished is not None else 0.0
        self._started = time.perf_counter()

    def fit(self, train: Any, valid: Any, **options: Any) -> Exception | None:
        """Train, and keep the model of the best epoch where there are validation rows. An error
        after the first epoch is returned, the best model so far being there.
        """
        if valid is not None:
            self.trainer.callbacks.append(self.best)
        elif self.best.patience is not None:
            raise ValueError("--patience looks at validation rows, and there are none")
        try:
            self.trainer.fit(train, valid, **options)
        except (ValueError, gn.DeviceError):
            raise
        except Exception as error:
            if not self.trainer.history.rows:
                raise
            self.best.on_end(self.trainer, interrupted=True)
            return error
        return None

    def seconds(self) -> float:
        """What the training took, before it was stopped and since."""
        return self._before + time.perf_counter() - self._started

    def leave(self) -> None:
        """When all else is written: a checkpoint to go on from; none of a training that is done,
        unless it was asked for.
        """
        if self.trainer.history.stopped == "interrupted":
            self.trainer.save(self.path)
        elif self.every is None:
            self.path.unlink(missing_ok=True)

    def _load(self) -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.trainer.load(self.path)
        for warning in told:
            _say(str(warning.message))
        count = len(self.trainer.history)
        epochs = "1 epoch" if count == 1 else f"{count} epochs"
        click.echo(f"going on with {readable(self.path)}, after {epochs}")


def _say(text: str) -> None:
    click.echo(f"gpunet: {text}", err=True)

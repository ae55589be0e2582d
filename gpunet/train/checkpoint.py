"""Checkpoints: a training in a file, every so often and when it stops."""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
import warnings

from gpunet.packing import pack
from gpunet.train.callbacks import Callback, Training

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600}


class Checkpoint(Callback):
    """Writes the training to `path` every so often and whenever it stops, by an error too.

        trainer = gn.Trainer(model, loss, optimizer, [gn.Checkpoint("run.safetensors", "5m")])
        if os.path.exists("run.safetensors"):
            trainer.load("run.safetensors")
        trainer.fit(...)

    The file is replaced at once or not at all, so there is always a whole one. Between two of them
    it costs a look at the clock an update. If one cannot be written, the disk being full, say, the
    training goes on with a RuntimeWarning.

    Args:
        path: of the file; its folder is there.
        every: a whole number of epochs; or a time, also in mid-epoch: "60s", "5m", "1.5h", or a
            float of seconds.

    Raises:
        ValueError: another `every`.
        OSError: from `fit`, before it begins: nothing can be written there.
        TypeError: from `fit`, likewise: a callback's state that a file cannot hold.
    """

    def __init__(self, path: str | os.PathLike[str], every: int | float | str = 1) -> None:
        self.path, self.every = path, every
        self._seconds = seconds_of(every)
        self._due = 0.0  # by the clock; or how many epochs the history has then

    def on_start(self, trainer: Training) -> None:
        folder = os.path.dirname(os.path.realpath(self.path))
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"the checkpoint {os.fspath(self.path)!r} is a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
        pack({type(c).__name__: c.state_dict() for c in trainer.callbacks})
        self._plan_next(trainer)

    def on_update(self, trainer: Training) -> None:
        now = len(trainer.history) if self._seconds is None else time.monotonic()
        if now >= self._due:
            self._write(trainer)
            self._plan_next(trainer)

    def on_stop(self, trainer: Training) -> None:
        self._write(trainer)

    def _plan_next(self, trainer: Training) -> None:
        if self._seconds is not None:
            self._due = time.monotonic() + self._seconds
        else:
            every = int(self.every)
            self._due = (len(trainer.history) // every + 1) * every

    def _write(self, trainer: Training) -> None:
        try:
            trainer.save(self.path)
        except (OSError, TypeError) as error:
            warnings.warn(f"no checkpoint was written: {error}", RuntimeWarning, stacklevel=2)


def seconds_of(every: int | float | str) -> float | None:
    """How many seconds that is; None for a whole number, of epochs. ValueError for neither."""
    if isinstance(every, int) and not isinstance(every, bool) and every > 0:
        return None
    found = math.nan
    if isinstance(every, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(s|m|min|h)\s*", every)
        found = float(match[1]) * UNITS[match[2]] if match else math.nan
    elif isinstance(every, float):
        found = every
    if not 0 < found < math.inf:
        raise ValueError(
            'every must be a whole number of epochs from 1, a time such as "60s", "5m" or "1.5h", '
            f"or a float of seconds, got {every!r}"
        )
    return found

"""The way of a network's weights through a training, kept to be looked at afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import to_host
from gpunet.layer import Layer
from gpunet.train.callbacks import Callback, Training
from gpunet.train.history import Row

Host = np.ndarray[Any, Any]


class Trajectory(Callback):
    """Records all parameters before training and after every epoch: one of `Trainer`'s callbacks.

        trajectory = Trajectory()
        gn.Trainer(model, loss, optimizer, [trajectory]).fit(data.train, epochs=20)
        surface(model, loss, data.train, trajectory).save("surface.png")

    In a loop of your own call `record(model)` when you like. A second `fit` continues it.

    points: (records, parameters) in float64 on the host, each row all parameters in the order of
    `model.parameters()`. Every record costs 8 bytes a parameter, and a copy from the device.
    """

    def __init__(self) -> None:
        self._points: list[Host] = []

    def __len__(self) -> int:
        return len(self._points)

    @property
    def points(self) -> Host:
        """The parameters at each record, (records, parameters); ValueError without any."""
        if not self._points:
            raise ValueError("the trajectory is empty: give it to the Trainer, or call record()")
        return np.stack(self._points)

    def record(self, model: Layer) -> None:
        """Add the model's parameters as they are; ValueError if their number changed."""
        point = flat_parameters(model)
        if self._points and len(self._points[0]) != len(point):
            raise ValueError(
                f"the trajectory holds {len(self._points[0])} parameters a record, this model has "
                f"{len(point)}"
            )
        self._points.append(point)

    def on_start(self, trainer: Training) -> None:
        if not self._points:
            self.record(trainer.model)

    def on_epoch(self, trainer: Training, row: Row) -> None:
        self.record(trainer.model)


def flat_parameters(model: Layer) -> Host:
    """All parameters as one float64 array on the host."""
    parts = [to_host(p.data).ravel() for p in model.parameters()]
    if not parts:
        raise ValueError("the model has no parameters")
    return np.concatenate(parts).astype(np.float64)

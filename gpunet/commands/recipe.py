"""What `gpunet train` makes of its options: the network, the loss, the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.commands.parse import Weights
from gpunet.commands.scheduling import Scheduling
from gpunet.data import Dataset


@dataclass(frozen=True)
class Recipe:
    """The options by their names on the command line."""

    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool
    dropout: float
    optimizer: str
    lr: float | None
    schedule: Scheduling
    weight_decay: float | None
    clip_norm: float | None
    class_weights: Weights | None

    def trainer(self, data: Dataset, place: str, epochs: int, batch_size: int) -> gn.Trainer:
        """For `data`, on the device `place`. ValueError for options that do not go together."""
        sizes = [data.features, *self.hidden, data.outputs]
        loss = self._loss(data)
        model = gn.MLP(sizes, self.activation, self.batch_norm, self.dropout)
        model.to(place)
        an_epoch = math.ceil(len(data.train) / batch_size)
        return gn.Trainer(model, loss, self._optimizer(model, epochs, an_epoch))

    def _loss(self, data: Dataset) -> gn.Loss:
        if data.classes is not None:
            return gn.SoftmaxWithLoss(class_weights=self._weights(data))
        if self.class_weights is not None:
            raise ValueError("--class-weights: the targets are numbers, not classes")
        return gn.MeanSquaredError()

    def _weights(self, data: Dataset) -> Any:
        """One for each class; balanced ones let each class count alike."""
        given, names = self.class_weights, data.classes or ()
        if given is None:
            return None
        if not isinstance(given, dict):
            counts = np.bincount(data.train.t, minlength=len(names))
            return len(data.train) / (len(names) * np.maximum(counts, 1))
        if unknown := sorted(given.keys() - set(names)):
            raise ValueError(
                f"--class-weights: there is no class {unknown[0]!r}; there are {', '.join(names)}"
            )
        return [given.get(name, 1.0) for name in names]

    def _optimizer(self, model: gn.Layer, epochs: int, an_epoch: int) -> gn.Optimizer:
        kind = gn.OPTIMIZERS[self.optimizer]
        settings: dict[str, Any] = {"clip_norm": self.clip_norm}
        if self.weight_decay is not None:
            settings["weight_decay"] = self.weight_decay
        if kind.has_lr:
            lr = kind.arguments["lr"].default if self.lr is None else self.lr
            settings["lr"] = self.schedule.over(lr, epochs, an_epoch)
        elif self.lr is not None or str(self.schedule) != "constant":
            option = "--schedule" if self.lr is None else "--lr"
            raise ValueError(f"{option}: {kind.__name__} has no learning rate; leave it out")
        return kind(model.parameters(), **settings)

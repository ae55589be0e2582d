"""Probe: what goes through each layer while a network trains, and what comes back."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.activation import Sigmoid, Tanh
from gpunet.backend import Array, to_host
from gpunet.context import observe
from gpunet.layer import Layer
from gpunet.study.probe_look import Host, Look, epochs_of, layers_of, looks_at, table
from gpunet.study.probe_picture import save_picture
from gpunet.study.symptoms import symptoms
from gpunet.tensor import Tensor
from gpunet.train.callbacks import Callback, Training
from gpunet.train.feed import Feed
from gpunet.train.history import Row
from gpunet.train.snapshot import Snapshot

BINS = 40


class Probe(Callback):
    """Looks into every layer before training and after each epoch, on a few rows that it keeps.

        probe = gn.study.Probe(data.train)
        gn.Trainer(model, loss_fn, opt, callbacks=[probe]).fit(data.train, data.valid)
        print(probe); probe.save("probe.png")

    Each look is one training step on these rows, all of which is taken back: training goes on
    exactly as without it. (A layer of your own that draws random numbers from a generator draws
    some more of them.) It warns, once for each layer and trouble, of dead ReLUs, saturated
    sigmoids, vanishing and exploding gradients.

    Args:
        data: (x, t), or an object with .x and .t, such as the training data.
        rows: how many of its first rows are kept, from 2.
        warn: False keeps quiet.

    looks: a `Look` for each layer and epoch; epoch 0 is before training.

    ValueError for rows below 2, TypeError for data that is no pair; data that does not fit the
    model is told when training starts.
    """

    def __init__(self, data: Any, rows: int = 256, warn: bool = True) -> None:
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)) or rows < 2:
            raise ValueError(f"rows must be a whole number from 2, got {rows!r}")
        if hasattr(data, "x") and hasattr(data, "t"):
            data = data.x, data.t
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(f"Probe needs data as a pair (x, t), got {type(data).__name__}")
        self._kept = data[0][:rows], data[1][:rows]
        self._feed: Feed | None = None
        self._warn = warn
        self._warned: set[tuple[str, str]] = set()
        self.looks: list[Look] = []

    def on_start(self, trainer: Training) -> None:
        self._feed = Feed(self._kept, trainer.model, trainer.loss, "Probe")
        epoch = len(trainer.history)
        if not any(look.epoch == epoch for look in self.looks):
            self._look(trainer, epoch)

    def on_epoch(self, trainer: Training, row: Row) -> str | None:
        self._look(trainer, row["epoch"])
        return None

    @property
    def layers(self) -> list[str]:
        """Their dotted names, in the order in which they are called."""
        return layers_of(self.looks)

    @property
    def epochs(self) -> list[int]:
        """The epochs that were looked at, 0 being before the first."""
        return epochs_of(self.looks)

    def of(self, layer: str) -> list[Look]:
        """The looks at one layer, one an epoch. KeyError for an unknown name."""
        return looks_at(self.looks, layer)

    def __str__(self) -> str:
        """The last epoch as a table."""
        if not self.looks:
            return "Probe: nothing seen yet"
        last = [look for look in self.looks if look.epoch == self.epochs[-1]]
        return f"after epoch {self.epochs[-1]}\n" + table(last)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Histograms of every layer's outputs, gradient norms and update ratios over the epochs, as
        a figure (.png, .svg or .pdf), written atomically.

        ImportError without matplotlib; ValueError before the first look.
        """
        save_picture(self.looks, path)

    def _look(self, trainer: Training, epoch: int) -> None:
        assert self._feed is not None
        step = _ObservedStep(trainer, self._feed)
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with Snapshot(trainer.model, trainer.optimizer).restored(), quiet:
            step.run()
            looks = list(step.looks(epoch))
        self.looks += looks
        if not self._warn:
            return
        for layer, trouble, words in symptoms(looks):
            if (layer, trouble) not in self._warned:
                self._warned.add((layer, trouble))
                when = f"epoch {epoch}" if epoch else "before training"
                warnings.warn(f"{when}, {words}", RuntimeWarning, stacklevel=4)


class _ObservedStep:
    """One training step on the kept rows, each layer's output noted."""

    def __init__(self, trainer: Training, feed: Feed) -> None:
        self.trainer, self.model, self.feed = trainer, trainer.model, feed
        self.names: dict[int, tuple[str, Layer]] = {}
        for name, layer in [("(model)", self.model), *self.model.named_layers()]:
            if not any(True for _ in layer.children()):
                self.names.setdefault(id(layer), (name, layer))
        self.outputs: list[tuple[str, Layer, Tensor]] = []
        self.before: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}

    def run(self) -> None:
        self.before = {name: p.data.copy() for name, p in self.model.named_parameters()}
        self.model.train()
        self.trainer.optimizer.zero_grad()
        self.model.zero_grad()
        x, t = self.feed.rows(slice(None))
        with observe(self._see):
            loss = self.trainer.loss(self.model(x), t)
        loss.backward()
        self.gradients = {  # none: never reached, which is a gradient of 0
            name: np.zeros(p.shape) if p.grad is None else p.grad.copy()
            for name, p in self.model.named_parameters()
        }
        self.trainer.optimizer.step()

    def _see(self, layer: Layer, y: Tensor) -> None:
        if id(layer) not in self.names:
            return
        name, _ = self.names[id(layer)]
        calls = sum(seen is layer for _, seen, _ in self.outputs)
        again = f" (call {calls + 1})" if calls else ""
        self.outputs.append((name + again, layer, y.retain_grad()))

    def looks(self, epoch: int) -> Iterator[Look]:
        after = dict(self.model.named_parameters())
        for name, layer, y in self.outputs:
            plain = self.names[id(layer)][0]
            prefix = "" if plain == "(model)" else f"{plain}."
            own = [prefix + key for key, _ in layer.named_parameters()]
            weight = _norm([self.before[key] for key in own])
            change = _norm([after[key].data - self.before[key] for key in own])
            values = to_host(y.data).astype(np.float64)
            counts, edges = _histogram(values)
            zero = values == 0
            yield Look(
                epoch=epoch,
                layer=name,
                kind=type(layer).__name__,
                mean=float(values.mean()),
                spread=float(values.std()),
                zeros=float(zero.mean()),
                dead=float(zero.reshape(-1, values.shape[-1]).all(axis=0).mean()),
                saturated=_saturated(layer, values),
                parameters=sum(after[key].size for key in own),
                gradient=math.nan if y.grad is None else _norm([y.grad]),
                parameter_gradient=_norm([self.gradients[key] for key in own]),
                update=change / weight if weight else math.nan,
                counts=counts,
                edges=edges,
            )


def _norm(arrays: list[Array]) -> float:
    """2-norm of all elements together, in float64; nan for no arrays."""
    if not arrays:
        return math.nan
    norms = [np.linalg.norm(to_host(a).astype(np.float64)) for a in arrays]
    return float(np.linalg.norm(norms))


def _histogram(values: Host) -> tuple[Host, Host]:
    """Of the finite values; room around them where they are all but equal."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    least = 1e-6 * max(abs(low), abs(high), 1e-30)
    if high - low < least:
        low, high = low - least, high + least
    return np.histogram(values, BINS, (low, high))


def _saturated(layer: Layer, y: Host) -> float:
    """Where y (1 - y), or 1 - y^2, is below a tenth of its largest value."""
    if isinstance(layer, Sigmoid):
        return float((4 * y * (1 - y) < 0.1).mean())
    if isinstance(layer, Tanh):
        return float((1 - y * y < 0.1).mean())
    return math.nan

"""The models of an ensemble, each with an optimizer, a history and callbacks of its own."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunet import rng
from gpunet.containers import flat
from gpunet.ensemble.copies import Kept
from gpunet.layer import Layer
from gpunet.layers import Dropout
from gpunet.loss import Loss
from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.train.callbacks import Callback
from gpunet.train.history import History
from gpunet.train.nonfinite import NonFiniteError
from gpunet.train.snapshot import Snapshot

Make = Callable[[], Layer]


@dataclass(eq=False)
class Member:
    """One model of an ensemble: what a callback sees in the place of a `Trainer`.

    seed: of its initial weights, its dropout masks and its order. given: what it was given that
    others may have another of. error: what ended its training, if its numbers were not finite.
    kept: what its snapshots share with those of the others, in a fit.
    """

    model: Layer
    optimizer: Optimizer
    loss: Loss
    seed: int
    given: Mapping[str, Any]
    history: History = field(default_factory=History)
    callbacks: list[Callback] = field(default_factory=list)
    error: NonFiniteError | None = None
    kept: Kept | None = None

    def snapshot(self) -> Snapshot:
        """As a `Trainer`'s; inside a fit it is taken when all callbacks of its kind were told."""
        return Snapshot(self.model) if self.kept is None else self.kept.snapshot(self.model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """TypeError: a callback asks for it."""
        raise TypeError("a model of an ensemble has no checkpoint of its own; ensemble.save(path)")


def make(model: Layer | Make, seed: int) -> Layer:
    """The model as its lines make it after `gn.seed(seed)`. TypeError for what makes none."""
    with rng.apart(seed):
        if isinstance(model, Layer):
            drawn = copy.deepcopy(model)
            drawn.draw()
        else:
            drawn = model() if callable(model) else model
    if not isinstance(drawn, Layer):
        raise TypeError(f"model must be a layer, or a function that makes one; got {drawn!r}")
    return drawn


def optimizer_class(optimizer: str | type[Optimizer]) -> type[Optimizer]:
    """TypeError for what is neither a class of optimizers nor the name of one."""
    found = OPTIMIZERS.get(optimizer.lower()) if isinstance(optimizer, str) else optimizer
    if not (isinstance(found, type) and issubclass(found, Optimizer)):
        names = ", ".join(sorted(OPTIMIZERS))
        raise TypeError(f"optimizer must be gn.Adam, say, or a name of {names}; got {optimizer!r}")
    return found


def each(name: str, value: Any, count: int, pair: bool = False) -> list[Any]:
    """`value` for each of `count` models: a list, a tuple or an array has one for each.

    pair: one is two numbers, so two numbers are one for all. ValueError for another length.
    """
    several = isinstance(value, (list, tuple, range)) or getattr(value, "ndim", 0) > 0
    if not several or (pair and all(np.ndim(one) == 0 for one in value)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} has {len(value)} values for {count} models; give one for each, or one for all"
        )
    return [one.item() if isinstance(one, np.generic) else one for one in value]


def settings_of(
    kind: type[Optimizer], given: Mapping[str, Any], count: int
) -> list[dict[str, Any]]:
    """The optimizers' settings from lists and single values; TypeError for an unknown one."""
    kind.named((), given)
    columns = {
        name: each(name, value, count, isinstance(kind.arguments[name].default, tuple))
        for name, value in given.items()
    }
    return [{name: column[k] for name, column in columns.items()} for k in range(count)]


def set_dropout(models: Sequence[Layer], dropout: Iterable[float]) -> None:
    """The p of every Dropout. ValueError for a model that has none."""
    for model, p in zip(models, dropout, strict=True):
        layers = [layer for layer in flat(model) if isinstance(layer, Dropout)]
        if not layers:
            raise ValueError(
                "dropout is given, but the model has no Dropout; make it with "
                "gn.MLP(..., dropout=0.5), say"
            )
        for layer in layers:
            layer.p = p

"""The numbers of several models of one shape in a few arrays, a row for each model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from gpunet.activation import ACTIVATIONS
from gpunet.backend import Array, aligned_zeros, array_module
from gpunet.containers import flat
from gpunet.fused.after import Dropouts
from gpunet.fused.plan import Block, Chain
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, Rescale
from gpunet.optim import Optimizer
from gpunet.optim.together import Launched, Together
from gpunet.parameter import Membership, Parameter

Found = TypeVar("Found", bound=Chain)
KINDS = (Affine, BatchNorm, Dropout, Rescale, *ACTIVATIONS.values())


class Stack:
    """Moves the models' parameters, gradients, optimizer states and running statistics into arrays
    with a row for each model. The models and their optimizers stay what they are, and work on
    their rows.

    Args:
        models, optimizers: alike but for numbers and settings; see `check_alike`.

    Attributes:
        layers: as those of a model, in order; their parameters and statistics are those of all,
            with a leading axis, as the ops of the tape take them. A Dropout is a `Dropouts`.
        here: which models still are.
        update: one update of every model that is here.
    """

    def __init__(self, models: Sequence[Layer], optimizers: Sequence[Optimizer]) -> None:
        self.models, self.optimizers = list(models), list(optimizers)
        self.here = list(range(len(models)))
        self._left: list[int] = []
        self.xp: Any = array_module(models[0].parameters()[0].data)
        self.arrays: dict[str, Array] = {}
        for k, optimizer in enumerate(optimizers):
            optimizer.move(partial(self._row, k))
        arena = optimizers[0].arenas[0]
        self._places = {id(p): place for p, place in arena.places_in(slice(0, arena.data.size))}
        self.layers = [self._stacked(alike) for alike in zip(*map(flat, models), strict=True)]
        kind = Together if self.xp is np else Launched
        self.update = kind(self.optimizers, self.arrays, self.here)

    def _row(self, k: int, name: str, size: int, dtype: Any) -> Array:
        """Row k of an array of this name."""
        if name not in self.arrays:
            count = len(self.models)
            self.arrays[name] = aligned_zeros(self.xp, count * size, dtype).reshape(count, size)
        return self.arrays[name][k]

    def _stacked(self, alike: tuple[Any, ...]) -> Any:
        """One layer in the place of those of all models."""
        if isinstance(alike[0], Dropout):
            return Dropouts(list(alike), self.optimizers[0].parameters[0].dtype, self.xp)
        layer = copy.copy(alike[0])
        for name, p in alike[0].named_parameters():
            data, grad = (self.arrays[key][:, self._places[id(p)]] for key in ("param", "grad"))
            vars(layer)[name] = _view(data, grad, (len(alike), *p.shape))
        for name in layer.buffers:
            arrays = self.xp.stack([getattr(own, name) for own in alike])
            setattr(layer, name, arrays)
            for own, row in zip(alike, arrays, strict=True):
                setattr(own, name, row)
        return layer

    def plan(self, found: Found) -> Found:
        """The plan, or chain, of models[0] with blocks of the layers of all, as a walk takes them:
        with vectors that are rows, (models, 1, columns).
        """
        pairs = zip(flat(self.models[0]), map(_with_rows, self.layers), strict=True)
        layers: dict[int, Any] = {id(one): all_ for one, all_ in pairs}
        layers[id(None)] = None
        blocks = tuple(
            Block(*(layers[id(k)] for k in (b.affine, b.norm, b.act, b.dropout)))
            for b in found.blocks
        )
        return replace(found, blocks=blocks)

    def leave(self, k: int) -> None:
        """Nothing changes model k any more. Its parameters stay in its row until `part`: after a
        move all look anew at where parameters lie.
        """
        self.here.remove(k)
        self._left.append(k)
        for own, layer in zip(flat(self.models[k]), self.layers, strict=True):
            for name in own.buffers:
                setattr(own, name, getattr(own, name).copy())
            if isinstance(layer, Dropouts):
                layer.forget(k)
        self.update.leave(k)

    def part(self) -> None:
        """Models that have left get parameters in memory of their own."""
        while self._left:
            self.optimizers[self._left.pop()].move()

    def statistics(self) -> list[Array]:
        """The running statistics of all, (models, columns) each."""
        layers = [layer for layer in self.layers if not isinstance(layer, Dropouts)]
        return [getattr(layer, name) for layer in layers for name in layer.buffers]


def _view(data: Array, grad: Array, shape: tuple[int, ...]) -> Parameter:
    """A parameter of this shape around arrays that are there."""
    parameter = Parameter(data.reshape(shape))
    parameter.enter(Membership(), data, grad)
    return parameter


def _with_rows(layer: Any) -> Any:
    """The layer itself, or one whose vectors have an axis for rows."""
    if not isinstance(layer, (Affine, BatchNorm)):
        return layer
    own = copy.copy(layer)
    for name, p in layer.named_parameters():
        if p.ndim == 2:
            shape = (p.shape[0], 1, p.shape[1])
            vars(own)[name] = _view(p.data, p.grad, shape)
    for name in layer.buffers:
        setattr(own, name, getattr(layer, name)[:, None])
    return own


def check_alike(models: Sequence[Layer]) -> None:
    """ValueError unless all models are chains of the same layers, of one shape; the message names
    the first that differs.
    """
    first = list(flat(models[0]))
    for position, layer in enumerate(first):
        if type(layer) not in KINDS:
            names = ", ".join(kind.__name__ for kind in KINDS)
            raise ValueError(
                f"layer {position} is a {type(layer).__name__}; an ensemble is made of chains of "
                f"{names}"
            )
    for k, model in enumerate(models[1:], 1):
        own = list(flat(model))
        if list(map(_form, own)) != list(map(_form, first)):
            differing = [(a, b) for a, b in zip(first, own, strict=False) if _form(a) != _form(b)]
            one, other = differing[0] if differing else (f"{len(first)} layers", f"{len(own)}")
            raise ValueError(
                f"the models of an ensemble have one shape: model 0 has {one!r}, "
                f"model {k} {other!r}"
            )


def _form(layer: Layer) -> Any:
    """What models must agree on."""
    settings = {} if isinstance(layer, Dropout) else layer.config()
    return type(layer), settings

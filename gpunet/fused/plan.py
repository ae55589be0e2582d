"""Which models run fused: chains of Affine, BatchNorm, activation and Dropout, and a Rescale before
them; a `Chain` in evaluation mode, a `Plan`, which has a loss, in training.

A plan only says which layers stand together; weights and settings stay in the layers and are read
from there at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gpunet import context
from gpunet.activation import ACTIVATIONS, Activation
from gpunet.backend import Array
from gpunet.containers import MLP, Sequential, flat
from gpunet.fused.after import Dropouts
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, Rescale
from gpunet.loss import SoftmaxWithLoss
from gpunet.parameter import Parameter


@dataclass(frozen=True)
class Block:
    """An Affine and what follows it: BatchNorm, activation, Dropout, in this order; each but the
    first may be missing. In a plan for several models their parameters have a leading axis.
    """

    affine: Affine
    norm: BatchNorm | None = None
    act: Activation | None = None
    dropout: Dropout | Dropouts | None = None


@dataclass(frozen=True)
class Chain:
    """The blocks of a model.

    rescale: what stands before the first block, or None.
    layers: all of them, in order. containers: what holds them, and which it held.
    parameters: each with the layer and the name it was found under.
    """

    rescale: Rescale | None
    blocks: tuple[Block, ...]
    layers: tuple[Layer, ...]
    containers: tuple[tuple[Sequential, tuple[Layer, ...]], ...]
    parameters: tuple[tuple[Layer, str, Parameter], ...]

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of all parameters."""
        return self.blocks[0].affine.dtype

    @cached_property
    def features(self) -> int:
        """Of the input."""
        return self.blocks[0].affine.in_features

    @cached_property
    def columns(self) -> list[int]:
        """How many outputs each block has; the last one's are the model's."""
        return [b.affine.out_features for b in self.blocks]

    @cached_property
    def models(self) -> tuple[int, ...]:
        """How many, where the parameters have a leading axis of them; else ()."""
        return self.blocks[0].affine.W.shape[:-2]

    @cached_property
    def parts(self) -> list[Layer]:
        """All that the outputs depend on: the layers, and what holds them."""
        return [*(container for container, _ in self.containers), *self.layers]

    def scale(self) -> float:
        """What the input is multiplied with."""
        return self.rescale.scale if self.rescale else 1.0

    def stands(self) -> bool:
        """False if layers, parameters or running statistics are no longer those that were read."""
        running = (a for b in self.blocks if b.norm for a in _running(b.norm))
        return (
            all(getattr(layer, name) is p for layer, name, p in self.parameters)
            and all(container.layers is layers for container, layers in self.containers)
            and all(a.dtype == self.dtype and a.shape == shape for a, shape in running)
        )


@dataclass(frozen=True)
class Plan(Chain):
    """A chain, the last block of which has nothing behind its Affine, and its loss."""

    loss: SoftmaxWithLoss

    @cached_property
    def parts(self) -> list[Layer]:
        """All that a step depends on."""
        return [*super().parts, self.loss]

    @cached_property
    def mode_dependent(self) -> list[Layer]:
        """The layers that behave otherwise in evaluation mode."""
        return [k for k in self.layers if isinstance(k, (BatchNorm, Dropout))]

    def holds(self) -> bool:
        """False while the layers must run one by one: somebody watches them, a part is in
        evaluation mode or frozen, or layers and parameters are no longer those that were read.
        """
        if not context.current().plain:
            return False
        for layer in self.mode_dependent:
            if not layer.training:
                return False
        for layer, name, p in self.parameters:
            if not p.requires_grad or getattr(layer, name) is not p:
                return False
        for container, layers in self.containers:
            if container.layers is not layers:
                return False
        return self.loss.class_weights is None


def read(model: Any, loss: Any) -> Plan | str:
    """The plan, or the reason why there is none."""
    if type(loss) is not SoftmaxWithLoss:
        return f"the loss is a {type(loss).__name__}, not a SoftmaxWithLoss"
    if loss.class_weights is not None:
        return "the loss has class weights"
    found = chain(model)
    if isinstance(found, str):
        return found
    last = found.blocks[-1]
    if last != Block(last.affine):
        return "the last layer is no Affine"
    if last.affine.out_features == 1:
        return "the model has one output, which the loss refuses"
    return Plan(**vars(found), loss=loss)


def chain(model: Any) -> Chain | str:
    """The model as a chain, or the reason why it is none."""
    if type(model) not in (Sequential, MLP):
        return f"the model is a {type(model).__name__}, not a Sequential or an MLP"
    layers = tuple(flat(model))
    rescale = layers[0] if layers and type(layers[0]) is Rescale else None
    blocks = _blocks(layers[1:] if rescale else layers)
    if isinstance(blocks, str):
        return blocks
    parameters = tuple((k, name, p) for k in layers for name, p in k.named_parameters())
    dtypes = {p.dtype for *_, p in parameters}
    if rescale and rescale.dtype not in dtypes:
        return "the Rescale layer and the parameters have two dtypes"
    if len(dtypes) > 1:
        return "the parameters have two dtypes"
    if len(model.parameters()) != len(parameters):
        return "two layers share a parameter"
    sizes = [(b.affine.W.shape, b.norm.features if b.norm else b.affine.W.shape[1]) for b in blocks]
    ends = [after for _, after in sizes]
    if [shape[1] for shape, _ in sizes] != ends or [s[0] for s, _ in sizes[1:]] != ends[:-1]:
        return "the layers' sizes do not fit together"
    return Chain(rescale, tuple(blocks), layers, tuple(_containers(model)), parameters)


def _running(norm: BatchNorm) -> Iterator[tuple[Array, tuple[int, ...]]]:
    """Its running statistics, and the shape that they must have."""
    yield norm.running_mean, norm.gamma.shape
    yield norm.running_var, norm.gamma.shape


def _containers(model: Sequential) -> Iterator[tuple[Sequential, tuple[Layer, ...]]]:
    yield model, tuple(model.layers)
    for layer in model.layers:
        if type(layer) in (Sequential, MLP):
            yield from _containers(layer)  # type: ignore[arg-type]


def _blocks(layers: Sequence[Layer]) -> list[Block] | str:
    """The layers cut before every Affine, or the reason why they cannot be."""
    places = {Affine: 0, BatchNorm: 1, **dict.fromkeys(ACTIVATIONS.values(), 2), Dropout: 3}
    found: list[list[Layer | None]] = []
    for position, layer in enumerate(layers):
        place = places.get(type(layer))
        if place is None:
            return f"layer {position} is a {type(layer).__name__}"
        if place == 0:
            found.append([layer, None, None, None])
        elif not found or any(found[-1][place:]):
            return f"layer {position} ({type(layer).__name__}) does not follow where it could fuse"
        else:
            found[-1][place] = layer
    if not found:
        return "the model has no Affine"
    return [Block(*block) for block in found]  # type: ignore

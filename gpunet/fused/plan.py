"""Which models a fused step can run: chains of Affine, BatchNorm, activation and Dropout, and a
Rescale before them.

A plan only says which layers stand together; weights and settings stay in the layers and are read
from there at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gpunet import context
from gpunet.containers import MLP, Sequential
from gpunet.layer import Layer
from gpunet.layers import ACTIVATIONS, Affine, BatchNorm, Dropout, Rescale
from gpunet.loss import SoftmaxWithLoss
from gpunet.parameter import Parameter


@dataclass(frozen=True)
class Block:
    """An Affine and what follows it: BatchNorm, activation ("relu", "sigmoid", "tanh"), Dropout,
    in this order; each but the first may be missing.
    """

    affine: Affine
    norm: BatchNorm | None = None
    act: str | None = None
    dropout: Dropout | None = None


@dataclass(frozen=True)
class Plan:
    """The blocks of a model, the last one without anything behind its Affine, and its loss.

    rescale: what stands before the first block, or None.
    layers: all of them, in order; moody: those that behave otherwise in evaluation mode.
    """

    model: Sequential
    rescale: Rescale | None
    blocks: tuple[Block, ...]
    loss: SoftmaxWithLoss
    layers: tuple[Layer, ...]
    moody: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    holders: tuple[tuple[Sequential, tuple[Layer, ...]], ...]

    def holds(self) -> bool:
        """False while the layers must run one by one: somebody watches them, a part is in
        evaluation mode or frozen, or the layers are no longer those that were read.
        """
        if not context.current().plain:
            return False
        for layer in self.moody:
            if not layer.training:
                return False
        for p in self.parameters:
            if not p.requires_grad:
                return False
        for holder, layers in self.holders:
            if holder.layers is not layers:
                return False
        return self.loss.class_weights is None

    def scale(self) -> float:
        """What the input is multiplied with."""
        return self.rescale.scale if self.rescale else 1.0


def read(model: Any, loss: Any) -> Plan | str:
    """The plan, or the reason why there is none."""
    if type(loss) is not SoftmaxWithLoss:
        return f"the loss is a {type(loss).__name__}, not a SoftmaxWithLoss"
    if loss.class_weights is not None:
        return "the loss has class weights"
    if type(model) not in (Sequential, MLP):
        return f"the model is a {type(model).__name__}, not a Sequential or an MLP"
    layers = tuple(_flat(model))
    rescale = layers[0] if layers and type(layers[0]) is Rescale else None
    blocks = _blocks(layers[1:] if rescale else layers)
    if isinstance(blocks, str):
        return blocks
    if blocks[-1] != Block(blocks[-1].affine):
        return "the last layer is no Affine"
    parameters = model.parameters()
    if rescale and rescale.dtype != parameters[0].dtype:
        return "the Rescale layer and the parameters have two dtypes"
    if len({p.dtype for p in parameters}) > 1:
        return "the parameters have two dtypes"
    if len(parameters) != sum(1 for _ in model.named_parameters()):
        return "two layers share a parameter"
    sizes = [(b.affine.W.shape, b.norm.features if b.norm else b.affine.W.shape[1]) for b in blocks]
    ends = [after for _, after in sizes]
    if [shape[1] for shape, _ in sizes] != ends or [s[0] for s, _ in sizes[1:]] != ends[:-1]:
        return "the layers' sizes do not fit together"
    holders = tuple(_holders(model))
    moody = tuple(k for k in layers if isinstance(k, (BatchNorm, Dropout)))
    return Plan(model, rescale, tuple(blocks), loss, layers, moody, tuple(parameters), holders)


def _flat(model: Sequential) -> Iterator[Layer]:
    for layer in model.layers:
        if type(layer) in (Sequential, MLP):
            yield from _flat(layer)  # type: ignore[arg-type]
        else:
            yield layer


def _holders(model: Sequential) -> Iterator[tuple[Sequential, tuple[Layer, ...]]]:
    yield model, tuple(model.layers)
    for layer in model.layers:
        if type(layer) in (Sequential, MLP):
            yield from _holders(layer)  # type: ignore[arg-type]


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
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    return [Block(a, n, names.get(type(act)), d) for a, n, act, d in found]  # type: ignore

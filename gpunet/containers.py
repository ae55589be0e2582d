"""Layers made of layers: Sequential and MLP, and how a model is described and built anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import islice
from typing import Any, TypeVar, overload

import numpy as np

from gpunet import checked, initializers
from gpunet.activation import ACTIVATIONS, Activation
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, Embedding, Rescale
from gpunet.tensor import Tensor

T = TypeVar("T")


class Sequential(Layer):
    """Layers one after another, named "0", "1", ...; `model[i]`, `len(model)` and iteration work.

    A slice is a Sequential of the same layers. An Affine without an initializer of its own is drawn
    for the activation that follows it.
    """

    _numbered = ("layers",)

    def __init__(self, *layers: Layer) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layer {position} of Sequential is a {type(layer).__name__}, expected a Layer"
                )
        self.layers = layers
        for position, layer in enumerate(layers):
            if isinstance(layer, Affine):
                layer.draw_by(_init_before(islice(layers, position + 1, None)))

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers by number, then what a subclass has beside them."""
        yield from ((str(k), layer) for k, layer in enumerate(self.layers))
        yield from super().children()

    def call(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Layer:
        if not isinstance(index, slice):
            return self.layers[index]
        part = Sequential()  # the layers put in afterwards: nothing is drawn anew
        part.layers = self.layers[index]
        part.training = self.training
        return part

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {k}: {layer!r}" for k, layer in enumerate(self.layers))
        return f"{type(self).__name__}({lines}\n)" if lines else f"{type(self).__name__}()"

    def config(self) -> dict[str, Any]:
        return {"layers": [describe(layer) for layer in self.layers]}


def _init_before(layers: Iterable[Layer]) -> initializers.Initializer:
    """What an Affine in front of `layers` is drawn from: what the activation before the next Affine
    wants, LeCun where there is none.
    """
    for layer in layers:
        if isinstance(layer, (Affine, Sequential)):
            break
        if isinstance(layer, Activation):
            return layer.init
    return initializers.LeCun()


class MLP(Sequential):
    """Affine, BatchNorm (if asked), activation and Dropout (if asked) for each hidden layer, and
    an Affine at the end.

    Args:
        sizes: layer sizes from input to output, two at least.
        activation: "relu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "silu" or "gelu".
        batch_norm: BatchNorm between the weighted sum and the activation.
        dropout: Dropout(p) after the activation; 0 leaves it out.
        dtype: float32 or float64.

    ValueError for a setting outside its range.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        if not np.iterable(sizes) or len(sizes) < 2:
            raise ValueError(f"sizes needs an input and an output size, got {sizes!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}: {activation!r}")
        self.sizes = [checked.size(n, "each of sizes") for n in sizes]
        self.activation, self.batch_norm = activation, bool(batch_norm)
        self.dropout = checked.fraction(dropout, "dropout")
        self.dtype = checked.floating_dtype(dtype)
        layers: list[Layer] = []
        for before, after in zip(self.sizes[:-2], self.sizes[1:-1], strict=True):
            layers.append(Affine(before, after, dtype=dtype))
            layers += [BatchNorm(after, dtype=dtype)] if batch_norm else []
            layers.append(ACTIVATIONS[activation]())
            layers += [Dropout(dropout)] if dropout else []
        super().__init__(*layers, Affine(self.sizes[-2], self.sizes[-1], dtype=dtype))

    def config(self) -> dict[str, Any]:
        return {
            "sizes": self.sizes,
            "activation": self.activation,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout,
            "dtype": self.dtype.name,
        }


def flat(model: Layer) -> Iterator[Layer]:
    """The layers of a model in order, those of Sequentials inside it one by one."""
    if type(model) in (Sequential, MLP):
        for layer in model.layers:  # type: ignore[attr-defined]
            yield from flat(layer)
    else:
        yield model


_KINDS: list[type[Layer]] = [Affine, BatchNorm, Dropout, Embedding, Rescale, Sequential, MLP]
KINDS: dict[str, type[Layer]] = {k.__name__: k for k in [*_KINDS, *ACTIVATIONS.values()]}


SHARED = "shared"  # a layer's number, where the description has it twice
_described: ContextVar[dict[int, dict[str, Any]] | None] = ContextVar("described", default=None)
_built: ContextVar[dict[int, Layer] | None] = ContextVar("built", default=None)


def describe(layer: Layer) -> dict[str, Any]:
    """{"kind": class name, **constructor arguments}, in JSON values. A layer that is used twice is
    described once, with a number under "shared"; then the number stands for it.
    """
    seen = _described.get()
    if seen is None:
        return _in_one(_described, lambda: describe(layer))
    if id(layer) in seen:
        number = seen[id(layer)].setdefault(SHARED, list(seen).index(id(layer)))
        return {SHARED: number}
    found = seen[id(layer)] = {"kind": type(layer).__name__}
    found.update(layer.config())
    return found


def _in_one(variable: ContextVar[Any], function: Callable[[], T]) -> T:
    """What is described or built inside shares its layers."""
    token = variable.set({})
    try:
        return function()
    finally:
        variable.reset(token)


def build(description: Mapping[str, Any], kinds: Mapping[str, type[Layer]] = KINDS) -> Layer:
    """The layer that `describe` described. ValueError for a kind that is not in `kinds`."""
    built = _built.get()
    if built is None:
        return _in_one(_built, lambda: build(description, kinds))
    arguments = dict(description)
    number = arguments.pop(SHARED, None)
    if not arguments and number in built:
        return built[number]
    layer = _make(arguments, kinds)
    if number is not None:
        built[number] = layer
    return layer


def _make(arguments: dict[str, Any], kinds: Mapping[str, type[Layer]]) -> Layer:
    kind = arguments.pop("kind", None)
    if kind not in kinds:
        raise ValueError(
            f"unknown layer kind {kind!r}; known: {', '.join(sorted(kinds))}; "
            "give layers of your own as load(path, layers=[...])"
        )
    if kind == "Sequential":
        return Sequential(*(build(inner, kinds) for inner in arguments["layers"]))
    return kinds[kind](**arguments)

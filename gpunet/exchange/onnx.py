"""A model as an ONNX file, for runtimes that know nothing of gpunet.

A layer in evaluation mode is a few nodes: `NODES` has a function for each kind. Needs the package
`onnx` (the extra `onnx`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from gpunet.backend import Array, to_host
from gpunet.containers import flat
from gpunet.exchange import onnx_rows
from gpunet.exchange.graph import Graph
from gpunet.extras import extra
from gpunet.files import write_atomically
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, Rescale
from gpunet.predictor import Predictor

OUTPUT = "y"


def _affine(layer: Affine, graph: Graph) -> None:
    b = [] if layer.b is None else [to_host(layer.b.data)]
    graph.node("Gemm", to_host(layer.W.data), *b)


def _batch_norm(layer: BatchNorm, graph: Graph) -> None:
    arrays = (layer.gamma.data, layer.beta.data, layer.running_mean, layer.running_var)
    graph.node("BatchNormalization", *map(to_host, arrays), epsilon=layer.eps)


def _rescale(layer: Rescale, graph: Graph) -> None:
    graph.cast(layer.dtype)
    graph.node("Mul", layer.dtype.type(layer.scale))


def _silu(layer: SiLU, graph: Graph) -> None:
    x = graph.last
    graph.node("Sigmoid")
    graph.node("Mul", name=x)


def _gelu(layer: GELU, graph: Graph) -> None:
    """ONNX has Gelu from operator set 20 on only."""
    x, number = graph.last, graph.dtype.type
    if layer.approximate == "none":
        graph.node("Mul", number(math.sqrt(0.5)))
        graph.node("Erf")
    else:
        graph.node("Mul", name=x)
        graph.node("Mul", number(0.044715))
        graph.node("Add", number(1))
        graph.node("Mul", name=x)
        graph.node("Mul", number(math.sqrt(2 / math.pi)))
        graph.node("Tanh")
    graph.node("Add", number(1))
    graph.node("Mul", name=x)
    graph.node("Mul", number(0.5))


def _nothing(layer: Dropout, graph: Graph) -> None:
    """Evaluation drops nothing."""


NODES: dict[type[Layer], Callable[[Any, Graph], None]] = {
    Affine: _affine,
    BatchNorm: _batch_norm,
    Rescale: _rescale,
    Dropout: _nothing,
    ReLU: lambda layer, graph: graph.node("Relu"),
    Sigmoid: lambda layer, graph: graph.node("Sigmoid"),
    Tanh: lambda layer, graph: graph.node("Tanh"),
    LeakyReLU: lambda layer, graph: graph.node("LeakyRelu", alpha=layer.slope),
    ELU: lambda layer, graph: graph.node("Elu", alpha=layer.alpha),
    Softplus: lambda layer, graph: graph.node("Softplus"),
    SiLU: _silu,
    GELU: _gelu,
}


def to_onnx(
    model: Layer | Predictor,
    path: str | os.PathLike[str],
    *,
    softmax: bool = False,
    dtype: Any = None,
) -> None:
    """Write a Sequential or an MLP, in evaluation mode, as an ONNX file.

    Its input is "x", (batch, features), its output "y", (batch, outputs); the batch may have any
    size. The model may live on a GPU; it stays there, and in its mode.

    A Predictor takes raw rows: "x" (batch, columns), or, where columns are text or may be missing,
    one input (batch, 1) for each, of its name: numbers, nan where one is missing, or text, "" where
    it is missing. "y" are logits of the classes, or numbers in the target's unit, float64. The
    file's metadata have "label", "classes" and "columns" in JSON.

    Args:
        softmax: the output is softmax of the logits: probabilities.
        dtype: of the inputs that are numbers; that of the parameters by default. Give uint8 for a
            model that begins with a Rescale and takes bytes, float64 for a Predictor of large
            numbers.

    Raises:
        ImportError: without the package onnx.
        NotImplementedError: a layer that ONNX is not told of, by its name.
        ValueError: a model without parameters, so that nothing tells its features; softmax of
            numbers.
        OSError: the folder is missing or not writable.
    """
    onnx = extra("onnx", "onnx", "to_onnx")
    about = model.data if isinstance(model, Predictor) else None
    layers = list(flat(model.model if isinstance(model, Predictor) else model))
    given = np.dtype(dtype if dtype is not None else _dtype(layers))
    graph = Graph(onnx)
    if about is not None:
        onnx_rows.prepare(graph, about, given, _dtype(layers), OUTPUT)
    else:
        graph.input(onnx_rows.INPUT, given, _size(layers, "in_features"))
        if given != _dtype(layers) and not isinstance(layers[0], Rescale):
            graph.cast(_dtype(layers))
    _write(layers, graph)
    if softmax:
        if about is not None and about.classes is None:
            raise ValueError("to_onnx: softmax=True, but numbers are predicted, and no classes")
        graph.node("Softmax", axis=-1)
    if about is not None:
        onnx_rows.answer(graph, about)
    words = {} if about is None else onnx_rows.words(about)
    file = graph.file(OUTPUT, _size(layers[::-1], "out_features"), words)
    write_atomically(path, file.SerializeToString())


def _write(layers: list[Layer], graph: Graph) -> None:
    """The nodes of all layers."""
    for position, layer in enumerate(layers):
        write = NODES.get(type(layer))
        if write is None:
            known = ", ".join(sorted(kind.__name__ for kind in NODES))
            raise NotImplementedError(
                f"to_onnx: layer {position} is a {type(layer).__name__}; it writes {known}"
            )
        write(layer, graph)


def _size(layers: list[Layer], name: str) -> int:
    """Of the first layer that has a size."""
    for layer in layers:
        found: int | None = getattr(layer, name, getattr(layer, "features", None))
        if found is not None:
            return found
    raise ValueError("to_onnx: no layer of this model tells how many features it takes")


def _dtype(layers: list[Layer]) -> np.dtype[Any]:
    """Of the first array of the model."""
    arrays: list[Array] = [p.data for layer in layers for p in layer.parameters()]
    return np.dtype(arrays[0].dtype if arrays else np.float32)

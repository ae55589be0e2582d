"""A model as an ONNX file, for runtimes that know nothing of gpunet.

A layer in evaluation mode is a few nodes: `NODES` has a function for each kind. Needs the package
`onnx` (the extra `onnx`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from gpunet.backend import Array, to_host
from gpunet.containers import flat
from gpunet.extras import extra
from gpunet.files import write_atomically
from gpunet.layer import Layer
from gpunet.layers import Affine, BatchNorm, Dropout, Rescale

OPSET = 17  # of 2022, which every runtime in use reads
INPUT, OUTPUT = "x", "y"


class Graph:
    """The nodes and constants written so far; `last` is the name of the value they end in."""

    def __init__(self, onnx: ModuleType, dtype: Any) -> None:
        self.onnx, self.dtype, self.last = onnx, np.dtype(dtype), INPUT
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(value)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *constants: Any, name: str = "", **attributes: Any) -> None:
        """A node of `last`, the value of that name and constants; its output becomes `last`."""
        named = [name] if name else []
        inputs = [self.last, *named, *(self.constant(c) for c in constants)]
        self.last = f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [self.last], **attributes))

    def cast(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.node("Cast", to=self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype))


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
    model: Layer, path: str | os.PathLike[str], *, softmax: bool = False, dtype: Any = None
) -> None:
    """Write a Sequential or an MLP, in evaluation mode, as an ONNX file.

    Its input is "x", (batch, features), its output "y", (batch, outputs); the batch may have any
    size. The model may live on a GPU; it stays there, and in its mode.

    Args:
        softmax: the output is softmax of the logits: probabilities.
        dtype: of the input; that of the parameters by default. Give uint8 for a model that begins
            with a Rescale and takes bytes.

    Raises:
        ImportError: without the package onnx.
        NotImplementedError: a layer that ONNX is not told of, by its name.
        ValueError: a model without parameters, so that nothing tells its features.
        OSError: the folder is missing or not writable.
    """
    onnx = extra("onnx", "onnx", "to_onnx")
    layers = list(flat(model))
    given = np.dtype(dtype if dtype is not None else _dtype(layers))
    graph = Graph(onnx, given)
    if given != _dtype(layers) and not isinstance(layers[0], Rescale):
        graph.cast(_dtype(layers))
    for position, layer in enumerate(layers):
        write = NODES.get(type(layer))
        if write is None:
            known = ", ".join(sorted(kind.__name__ for kind in NODES))
            raise NotImplementedError(
                f"to_onnx: layer {position} is a {type(layer).__name__}; it writes {known}"
            )
        write(layer, graph)
    if softmax:
        graph.node("Softmax", axis=-1)
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.last], [OUTPUT]))
    write_atomically(path, _file(graph, given, layers).SerializeToString())


def _file(graph: Graph, given: np.dtype[Any], layers: list[Layer]) -> Any:
    """The ONNX model around the nodes."""
    helper = graph.onnx.helper
    ends = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), ("batch", size))
        for name, dtype, size in (
            (INPUT, given, _size(layers, "in_features")),
            (OUTPUT, graph.dtype, _size(layers[::-1], "out_features")),
        )
    ]
    whole = helper.make_graph(graph.nodes, "gpunet", ends[:1], ends[1:], graph.constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(whole, opset_imports=opset, producer_name="gpunet", ir_version=8)
    graph.onnx.checker.check_model(model, full_check=True)
    return model


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

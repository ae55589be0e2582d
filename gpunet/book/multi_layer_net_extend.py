"""MultiLayerNetExtend: layers by name, their parameters and gradients in dicts."""

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gpunet.backend import Array, device_of, to_device
from gpunet.book import layers
from gpunet.book.gradient import numerical_gradient
from gpunet.checked import one_of
from gpunet.initializers import He, LeCun, Normal

__all__ = ["MultiLayerNetExtend"]
ACTIVATIONS: dict[Any, Any] = {"relu": layers.Relu, "sigmoid": layers.Sigmoid}
NAMED: dict[Any, Any] = {"relu": He(), "he": He(), "sigmoid": LeCun(), "xavier": LeCun()}


@dataclass(eq=False, repr=False)
class MultiLayerNetExtend:
    """The environment variable GPUNET_BOOK_DEVICE ("cpu", "cuda") says where `params` lie; on a GPU
    batches are brought to them. An array put into `params` takes the old one's place in its layer.
    """

    input_size: int
    hidden_size_list: list[int]
    output_size: int
    activation: str = "relu"
    weight_init_std: float | str = "relu"
    weight_decay_lambda: float = 0
    use_dropout: bool = False
    dropout_ration: float = 0.5
    use_batchnorm: bool = False

    def __post_init__(self) -> None:
        self.hidden_layer_num = len(self.hidden_size_list)
        self.params: dict[str, Array] = {}
        self.layers: dict[str, Any] = {}
        self.last_layer = layers.SoftmaxWithLoss()
        self._homes: dict[str, tuple[Any, str]] = {}  # a parameter's layer, and its name there
        Activation = ACTIVATIONS[one_of(*ACTIVATIONS)(self.activation, "activation")]
        std: Any = self.weight_init_std
        named = isinstance(std, str) and one_of(*NAMED)(std.lower(), "weight_init_std")
        init: Any = NAMED[named] if named else Normal(std)
        sizes = [self.input_size, *self.hidden_size_list, self.output_size]
        weights = [init(np.random, shape) for shape in pairwise(sizes)]
        for k, (W, n) in enumerate(zip(weights, sizes[1:], strict=True), 1):
            self._add(f"Affine{k}", k, layers.Affine, W=W, b=np.zeros(n))
            hidden = k <= self.hidden_layer_num
            if hidden and self.use_batchnorm:
                start = {"gamma": np.ones(n), "beta": np.zeros(n)}
                self._add(f"BatchNorm{k}", k, layers.BatchNormalization, **start)
            if hidden:
                self.layers[f"Activation_function{k}"] = Activation()
            if hidden and self.use_dropout:
                self.layers[f"Dropout{k}"] = layers.Dropout(self.dropout_ration)

    def _add(self, name: str, k: int, kind: Any, **arrays: Array) -> None:
        device = os.environ.get("GPUNET_BOOK_DEVICE", "cpu")
        placed = {attribute: to_device(array, device) for attribute, array in arrays.items()}
        self.layers[name] = kind(**placed)
        for attribute, array in placed.items():
            self.params[f"{attribute}{k}"] = array
            self._homes[f"{attribute}{k}"] = self.layers[name], attribute

    def _here(self, batch: Array) -> Array:
        on_gpu = device_of(self.params["W1"]) == "cuda"
        return to_device(batch, "cuda") if on_gpu else batch

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        for name, (layer, attribute) in self._homes.items():
            setattr(layer, attribute, self.params[name])
        x = self._here(x)
        for layer in self.layers.values():
            two_ways = isinstance(layer, layers.TwoWays)
            x = layer.forward(x, train_flg) if two_ways else layer.forward(x)
        return x

    def loss(self, x: Array, t: Array, train_flg: bool = False) -> float:
        loss = self.last_layer.forward(self.predict(x, train_flg), self._here(t))
        squares = sum((self.params[name] ** 2).sum() for name in self.params if name[0] == "W")
        return float(loss + 0.5 * self.weight_decay_lambda * squares)

    def accuracy(self, x: Array, t: Array) -> float:
        t = self._here(t if t.ndim == 1 else t.argmax(axis=1))
        return float((self.predict(x).argmax(axis=1) == t).mean())

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        def f(_: Array) -> float:
            return self.loss(x, t, train_flg=True)

        return {k: numerical_gradient(f, array) for k, array in self.params.items()}

    def gradient(self, x: Array, t: Array) -> dict[str, Array]:
        self.last_layer.forward(self.predict(x, True), self._here(t))
        dout = self.last_layer.backward()
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads = {k: getattr(layer, f"d{name}") for k, (layer, name) in self._homes.items()}
        for k, (_, name) in self._homes.items():
            if name == "W":
                grads[k] = grads[k] + self.weight_decay_lambda * self.params[k]
        return grads

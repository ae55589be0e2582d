"""The book's layers: gpunet's, by hand, on parameters that are arrays shared with a dict."""

import numpy as np

from gpunet import activation, functional, layers, loss
from gpunet.backend import Array
from gpunet.book.functions import cross_entropy_error, softmax
from gpunet.layer import Layer
from gpunet.tensor import Tensor

__all__ = ["Affine", "BatchNormalization", "Dropout", "Relu", "Sigmoid", "SoftmaxWithLoss", "np"]
Relu, Sigmoid = activation.ReLU, activation.Sigmoid


class OfArrays(Layer):
    """After `backward` the gradient of the array `W` is `dW`, and so on."""

    arrays: tuple[str, str]

    def tensors(self) -> list[Tensor]:
        self._tensors = [Tensor(getattr(self, name), requires_grad=True) for name in self.arrays]
        return self._tensors

    def backward(self, gy: Array = None) -> Array:
        dx = super().backward(gy)
        for name, tensor in zip(self.arrays, self._tensors, strict=True):
            setattr(self, f"d{name}", tensor.grad)
        return dx


class Affine(OfArrays):
    arrays = ("W", "b")

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b, self.dW, self.db = W, b, None, None

    def call(self, x: Tensor) -> Tensor:
        return functional.affine(x.reshape(len(x), -1), *self.tensors())


class SoftmaxWithLoss(loss.SoftmaxWithLoss):
    """The loss has the book's 1e-7 in it; the gradient is that without, as in the book."""

    def forward(self, x: Array, t: Array) -> Array:
        super().forward(x, t)
        self.y, self.t = softmax(x), t
        self.loss = cross_entropy_error(self.y, t)
        return self.loss


class TwoWays(Layer):
    """Does one thing in training, another afterwards."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        return self.train(bool(train_flg)) and super().forward(x)


class Dropout(TwoWays, layers.Dropout):
    """gpunet's times 1 - dropout_ratio: what is kept is scaled afterwards, not in training."""

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        super().__init__(dropout_ratio, seed=int(np.random.randint(2**31)))
        self.dropout_ratio = dropout_ratio

    def call(self, x: Tensor) -> Tensor:
        return super().call(x.reshape(len(x), -1)).reshape(x.shape) * (1 - self.dropout_ratio)


class BatchNormalization(TwoWays, OfArrays):
    """The running variance is the biased one, from 0. One row is taken as two equal ones."""

    arrays = ("gamma", "beta")

    def __init__(
        self,
        gamma: Array,
        beta: Array,
        momentum: float = 0.9,
        running_mean: Array = None,
        running_var: Array = None,
    ) -> None:
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.dgamma, self.dbeta = None, None

    def call(self, x: Tensor) -> Tensor:
        if self.running_mean is None:
            self.running_mean, self.running_var = 0 * self.gamma, 0 * self.gamma
        rows, one = x.reshape(len(x), -1), self.training and len(x) == 1
        rows, old = rows[[0, 0]] if one else rows, self.momentum * self.running_var
        kept = {"running_mean": self.running_mean, "running_var": self.running_var}
        way = {"training": self.training, "momentum": 1 - self.momentum, "eps": 10e-7}
        y = functional.batch_norm(rows, *self.tensors(), **kept, **way)
        if self.training:
            self.running_var -= (self.running_var - old) / len(rows)
        return (y[:1] if one else y).reshape(x.shape)

"""The book's optimizers: gpunet's with the book's arguments, defaults and attributes."""

from typing import Any

import numpy as np

from gpunet.inputs import as_dtype
from gpunet.optim import adagrad, adam, momentum, nesterov, rmsprop, sgd
from gpunet.optim.base import Optimizer
from gpunet.tensor import as_array

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop", "np"]


def _state(slot: str) -> property:
    return property(lambda self: {k: s[slot] for k, s in self.by_key.state.items()} or None)


class OnDicts(Optimizer):
    def update(self, params: Any, grads: Any) -> None:
        """Numbers in `params` are replaced; `grads` may have more keys, and other dtypes."""
        numbers = {k: np.asarray(p, np.float64) for k, p in params.items() if np.isscalar(p)}
        arrays = {**params, **numbers}
        own = {k: as_dtype(as_array(grads[k]), a.dtype, f"grads[{k!r}]") for k, a in arrays.items()}
        super().update(arrays, own)
        params.update({k: float(array) for k, array in numbers.items()})


class SGD(sgd.SGD, OnDicts):
    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr=lr)


class Momentum(momentum.Momentum, OnDicts):
    v = _state("velocity")

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr=lr, momentum=momentum)


class Nesterov(nesterov.Nesterov, OnDicts):
    v = _state("velocity")

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr=lr, momentum=momentum)


class AdaGrad(adagrad.AdaGrad, OnDicts):
    h = _state("sum_square")

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr=lr, eps=1e-7)


class RMSprop(rmsprop.RMSProp, OnDicts):
    h, decay_rate = _state("square_avg"), property(lambda self: self.rho)

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr=lr, rho=decay_rate, eps=1e-7)


class Adam(adam.Adam, OnDicts):
    m, v, iter = _state("m"), _state("v"), property(lambda self: self.t)
    beta1, beta2 = property(lambda self: self.betas[0]), property(lambda self: self.betas[1])

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr=lr, betas=(beta1, beta2), eps_hat=1e-7)

"""Nesterov: the gradient is taken where the momentum is about to carry the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer


def reference(
    grad: Array, lr: Any, momentum: Any, weight_decay: Any, param: Array, velocity: Array
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    velocity *= momentum
    velocity -= lr * grad
    param += momentum * velocity - lr * grad


class Nesterov(Optimizer):
    """Nesterov's accelerated gradient (Nesterov 1983; Sutskever et al. 2013, eq. 3-4).

    Written at the look-ahead point (Bengio et al. 2012), velocity form: v = momentum v - lr grad;
    param += momentum v - lr grad. The stored weights are the look-ahead point itself. Equals
    PyTorch's nesterov=True while lr is constant.
    """

    kernel = UpdateKernel("optim/nesterov", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-2,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, **common)

    @staticmethod
    def scalars(t: int, lr: float, momentum: float, weight_decay: float) -> dict[str, float]:
        return {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}

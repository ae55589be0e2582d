"""AdaDelta: RMSProp whose step has the units of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer


def reference(
    grad: Array,
    lr: Any,
    rho: Any,
    eps: Any,
    weight_decay: Any,
    param: Array,
    square_avg: Array,
    delta_avg: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    square_avg *= rho
    square_avg += (1 - rho) * grad * grad
    delta = np.sqrt(delta_avg + eps) / np.sqrt(square_avg + eps) * grad
    delta_avg *= rho
    delta_avg += (1 - rho) * delta * delta
    param -= lr * delta


class AdaDelta(Optimizer):
    """AdaDelta (Zeiler 2012, Algorithm 1). lr = 1 is the paper's; eps sets the speed at the start.

    PyTorch's defaults; Zeiler's rho is 0.95. (Keras's default lr is 0.001: a thousandth of this.)
    """

    kernel = UpdateKernel("optim/adadelta", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(parameters, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, **common)

    @staticmethod
    def scalars(t: int, lr: float, rho: float, eps: float, weight_decay: float) -> dict[str, float]:
        return {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}

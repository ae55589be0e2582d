"""Lion: the sign of an average gradient."""

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
    beta1: Any,
    beta2: Any,
    weight_decay: Any,
    param: Array,
    m: Array,
) -> None:
    sign = np.sign(beta1 * m + (1 - beta1) * grad)
    param -= lr * (sign + weight_decay * param)
    m *= beta2
    m += (1 - beta2) * grad


class Lion(Optimizer):
    """Lion (Chen et al. 2023, Algorithm 2), optax's form; every weight moves by lr, so lr is three
    to ten times smaller than Adam's. weight_decay is decoupled, multiplied by lr.
    """

    kernel = UpdateKernel("optim/lion", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        *,
        weight_decay: float = 1e-3,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            betas=betas,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> dict[str, float]:
        return {
            "lr": lr,
            "beta1": betas[0],
            "beta2": betas[1],
            "weight_decay": weight_decay,
        }

"""AdaMax: Adam by the largest gradient instead of the root mean square."""

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
    eps: Any,
    weight_decay: Any,
    correction1: Any,
    param: Array,
    m: Array,
    u: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    m += (1 - beta1) * (grad - m)
    np.maximum(beta2 * u, np.abs(grad) + eps, out=u)
    param -= lr * (m / correction1) / u


class AdaMax(Optimizer):
    """AdaMax (Kingma & Ba 2015, Algorithm 2): u = max(beta2 u, |grad| + eps);
    param -= lr / (1 - beta1^t) m / u. eps as in PyTorch; the paper has none. weight_decay is L2.
    """

    kernel = UpdateKernel("optim/adamax", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> dict[str, float]:
        return {
            "lr": lr,
            "beta1": betas[0],
            "beta2": betas[1],
            "eps": eps,
            "weight_decay": weight_decay,
            "correction1": 1 - betas[0] ** t,
        }

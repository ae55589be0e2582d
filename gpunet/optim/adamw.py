"""AdamW: Adam whose weight decay does not pass through the moments."""

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
    correction2: Any,
    param: Array,
    m: Array,
    v: Array,
) -> None:
    if weight_decay:
        param -= lr * weight_decay * param
    m += (1 - beta1) * (grad - m)
    v *= beta2
    v += (1 - beta2) * grad * grad
    param -= lr / correction1 * m / (np.sqrt(v / correction2) + eps)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2), PyTorch's form.

    param -= lr weight_decay param, then Adam's step. (The paper's decay is not multiplied by lr.)
    """

    kernel = UpdateKernel("optim/adamw", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 1e-2,
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
            "correction2": 1 - betas[1] ** t,
        }

"""RAdam: Adam that waits until its second moment can be trusted."""

from __future__ import annotations

import math
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
    rectification: Any,
    param: Array,
    m: Array,
    v: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    m += (1 - beta1) * (grad - m)
    v *= beta2
    v += (1 - beta2) * grad * grad
    step = lr * (m / correction1)
    if rectification > 0:
        step = step * rectification / (np.sqrt(v) + eps)
    param -= step


class RAdam(Optimizer):
    """RAdam (Liu et al. 2020, Algorithm 2), with PyTorch's threshold (rho_t > 5) and eps (on the
    root before bias correction). weight_decay is L2.
    """

    kernel = UpdateKernel("optim/radam", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-3,
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
            "rectification": _rectification(t, betas[1]),
        }


def _rectification(t: int, beta2: float) -> float:
    """r_t sqrt(1 - beta2^t), or 0 while the variance of the second moment is too uncertain."""
    correction2 = 1 - beta2**t
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / correction2
    if length <= 5:
        return 0.0
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return math.sqrt(share * correction2)

"""AdaBelief: large steps where the gradient is what was expected."""

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
    eps_root: Any,
    weight_decay: Any,
    correction1: Any,
    correction2: Any,
    param: Array,
    m: Array,
    s: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    m += (1 - beta1) * (grad - m)
    s *= beta2
    s += (1 - beta2) * (grad - m) * (grad - m)
    s += eps_root
    param -= lr * (m / correction1) / (np.sqrt(s / correction2) + eps)


class AdaBelief(Optimizer):
    """AdaBelief (Zhuang et al. 2020), optax's form: s is the spread of the gradient around m.

    Args:
        eps: added to the root.
        eps_root: added to s at every step, where it piles up.

    weight_decay is L2.
    """

    kernel = UpdateKernel("optim/adabelief", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        *,
        eps_root: float = 1e-16,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            betas=betas,
            eps=eps,
            eps_root=eps_root,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        eps_root: float,
        weight_decay: float,
    ) -> dict[str, float]:
        return {
            "lr": lr,
            "beta1": betas[0],
            "beta2": betas[1],
            "eps": eps,
            "eps_root": eps_root,
            "weight_decay": weight_decay,
            "correction1": 1 - betas[0] ** t,
            "correction2": 1 - betas[1] ** t,
        }

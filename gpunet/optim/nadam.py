"""NAdam: Adam with Nesterov's look-ahead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.lock import RLock
from gpunet.optim.base import Optimizer


def reference(
    grad: Array,
    lr: Any,
    beta1: Any,
    beta2: Any,
    eps: Any,
    weight_decay: Any,
    momentum_weight: Any,
    grad_weight: Any,
    correction2: Any,
    param: Array,
    m: Array,
    v: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    m += (1 - beta1) * (grad - m)
    v *= beta2
    v += (1 - beta2) * grad * grad
    step = momentum_weight * m + grad_weight * grad
    param -= lr * step / (np.sqrt(v / correction2) + eps)


class NAdam(Optimizer):
    """NAdam (Dozat 2016), PyTorch's form: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2).

    Args:
        momentum_decay: how fast mu_t rises to beta1; 0.004 in PyTorch, 1 in Keras.

    weight_decay is L2.
    """

    kernel = UpdateKernel("optim/nadam", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            betas=betas,
            eps=eps,
            momentum_decay=momentum_decay,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        momentum_decay: float,
        weight_decay: float,
    ) -> dict[str, float]:
        mu, product = _mu(t, betas[0], momentum_decay), _mu_product(t, betas[0], momentum_decay)
        mu_next = _mu(t + 1, betas[0], momentum_decay)
        return {
            "lr": lr,
            "beta1": betas[0],
            "beta2": betas[1],
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_weight": mu_next / (1 - product * mu_next),
            "grad_weight": (1 - mu) / (1 - product),
            "correction2": 1 - betas[1] ** t,
        }


def _mu(t: int, beta1: float, momentum_decay: float) -> float:
    return beta1 * (1 - 0.5 * math.pow(0.96, t * momentum_decay))


@lru_cache(maxsize=64)
def _products(beta1: float, momentum_decay: float) -> list[float]:
    """mu_1 mu_2 ... mu_t for t = 0, 1, ...: grows as it is asked for, until it reaches 0."""
    return [1.0]


_lock = RLock()


def _mu_product(t: int, beta1: float, momentum_decay: float) -> float:
    with _lock:  # two optimizers in two threads may share the list
        known = _products(beta1, momentum_decay)
        while len(known) <= t and known[-1] > 0:
            known.append(known[-1] * _mu(len(known), beta1, momentum_decay))
        return known[min(t, len(known) - 1)]

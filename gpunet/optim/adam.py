"""Adam: momentum over gradients scaled by their own size."""

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
    eps_root: Any,
    weight_decay: Any,
    correction1: Any,
    correction2: Any,
    param: Array,
    m: Array,
    v: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    change = grad - m  # two temporaries in all: making one costs as much as what fills it
    change *= 1 - beta1
    m += change
    np.multiply(grad, 1 - beta2, out=change)
    change *= grad
    v *= beta2
    v += change
    root = v / correction2
    if eps_root:
        root += eps_root
    np.sqrt(root, out=root)
    root += eps
    np.multiply(m, lr / correction1, out=change)
    change /= root
    param -= change


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, Algorithm 1), PyTorch's defaults; weight_decay is L2.

    Args:
        eps: added to the root of the bias-corrected v.
        eps_root: added under the root (optax).
        eps_hat: the order of the paper's section 2, lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t);
            param -= lr_t m / (sqrt(v) + eps_hat), as in the "from scratch" book, Chainer and Keras.
            True reads eps that way, a number takes its place.
    """

    kernel = UpdateKernel("optim/adam", reference)

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        eps_root: float = 0.0,
        eps_hat: bool | float = False,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            betas=betas,
            eps=eps,
            eps_root=eps_root,
            eps_hat=eps_hat,
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
        eps_hat: bool | float,
        weight_decay: float,
    ) -> dict[str, float]:
        correction2 = 1 - betas[1] ** t
        # Dividing sqrt(v) + eps_hat by sqrt(correction2) shows which eps it stands for.
        if eps_hat is not False:
            eps = (eps if eps_hat is True else eps_hat) / math.sqrt(correction2)
        return {
            "lr": lr,
            "beta1": betas[0],
            "beta2": betas[1],
            "eps": eps,
            "eps_root": eps_root,
            "weight_decay": weight_decay,
            "correction1": 1 - betas[0] ** t,
            "correction2": correction2,
        }

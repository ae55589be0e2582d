"""AdaGrad: steps shrink where gradients have been large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer
from gpunet.optim.segment import Hyper


def reference(
    grad: Array,
    lr: Any,
    eps: Any,
    eps_root: Any,
    weight_decay: Any,
    param: Array,
    sum_square: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    sum_square += grad * grad
    param -= lr * grad / (np.sqrt(sum_square + eps_root) + eps)


class AdaGrad(Optimizer):
    """AdaGrad (Duchi, Hazan & Singer 2011): h += grad^2; param -= lr grad / (sqrt(h) + eps).

    Args:
        initial_accumulator: what h starts from (0 in PyTorch, Chainer and the book; 0.1 in Keras
            and optax).
        eps_inside: the root covers eps, sqrt(h + eps), as in Keras and optax; False is PyTorch.
    """

    kernel = UpdateKernel("optim/adagrad", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-2,
        eps: float = 1e-10,
        *,
        initial_accumulator: float = 0.0,
        eps_inside: bool = False,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            eps=eps,
            initial_accumulator=initial_accumulator,
            eps_inside=eps_inside,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int, lr: float, eps: float, eps_inside: bool, weight_decay: float, **_: Any
    ) -> dict[str, float]:
        outside, inside = (0.0, eps) if eps_inside else (eps, 0.0)
        return {"lr": lr, "eps": outside, "eps_root": inside, "weight_decay": weight_decay}

    def initial(self, slot: str, param: Array, hyper: Hyper) -> Array | float:
        return float(hyper["initial_accumulator"])

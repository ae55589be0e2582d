"""SGD: the plain step down the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer


def reference(grad: Array, lr: Any, weight_decay: Any, param: Array) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    param -= lr * grad


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins & Monro 1951): param -= lr * grad.

    Args: see `Optimizer`; weight_decay is L2 added to the gradient.
    """

    kernel = UpdateKernel("optim/sgd", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-3,
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, **common)

    @staticmethod
    def scalars(t: int, lr: float, weight_decay: float) -> dict[str, float]:
        return {"lr": lr, "weight_decay": weight_decay}

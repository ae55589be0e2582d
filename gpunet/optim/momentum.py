"""Momentum: a heavy ball that remembers its velocity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer


def reference(
    grad: Array, lr: Any, momentum: Any, weight_decay: Any, param: Array, velocity: Array
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    velocity *= momentum
    velocity -= lr * grad
    param += velocity


class Momentum(Optimizer):
    """Momentum (Polyak 1964), velocity form: v = momentum v - lr grad; param += v.

    The form of the "from scratch" book, Chainer and Keras. With a constant lr it equals PyTorch's
    buffer form; when lr changes, old steps here keep the lr that they were made with.
    """

    kernel = UpdateKernel("optim/momentum", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-2,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, **common)

    @staticmethod
    def scalars(t: int, lr: float, momentum: float, weight_decay: float) -> dict[str, float]:
        return {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}

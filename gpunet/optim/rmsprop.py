"""RMSProp: AdaGrad that forgets."""

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
    rho: Any,
    eps: Any,
    eps_root: Any,
    momentum: Any,
    weight_decay: Any,
    param: Array,
    square_avg: Array,
    grad_avg: Array | None = None,
    velocity: Array | None = None,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    if grad_avg is not None:
        off = grad - grad_avg
        square_avg += (1 - rho) * off * off
        square_avg *= rho
        grad_avg += (1 - rho) * off
    else:
        square_avg *= rho
        square_avg += (1 - rho) * grad * grad
    step = grad / (np.sqrt(square_avg + eps_root) + eps)
    if velocity is not None:
        velocity *= momentum
        velocity += step
        step = velocity
    param -= lr * step


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012): s = rho s + (1 - rho) grad^2;
    param -= lr grad / (sqrt(s) + eps).

    Args:
        rho: decay of the average, PyTorch's alpha.
        eps_inside: the root covers eps, sqrt(s + eps), as in Keras and optax; False is PyTorch.
        momentum: a velocity over the scaled gradients, PyTorch's form; 0 keeps no array for it.
        centered: subtract the squared average gradient from s (Graves 2013): an estimate of the
            variance. The kept array is that variance, which cannot fall below 0 by rounding.
    """

    kernel = UpdateKernel("optim/rmsprop", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-2,
        rho: float = 0.99,
        eps: float = 1e-8,
        *,
        momentum: float = 0.0,
        centered: bool = False,
        eps_inside: bool = False,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            rho=rho,
            eps=eps,
            momentum=momentum,
            centered=centered,
            eps_inside=eps_inside,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int,
        lr: float,
        rho: float,
        eps: float,
        momentum: float,
        eps_inside: bool,
        weight_decay: float,
        **_: Any,
    ) -> dict[str, float]:
        return {
            "lr": lr,
            "rho": rho,
            "eps": 0.0 if eps_inside else eps,
            "eps_root": eps if eps_inside else 0.0,
            "momentum": momentum,
            "weight_decay": weight_decay,
        }

    def options(self, hyper: Hyper) -> frozenset[str]:
        chosen = {"centered": hyper["centered"], "with_momentum": hyper["momentum"] > 0}
        return frozenset(name for name, on in chosen.items() if on)

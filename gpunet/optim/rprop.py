"""RProp: only the signs of the gradients, a step size for every weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import UpdateKernel
from gpunet.optim.base import Optimizer, resolve
from gpunet.optim.segment import Hyper


def reference(
    grad: Array,
    eta_minus: Any,
    eta_plus: Any,
    step_min: Any,
    step_max: Any,
    weight_decay: Any,
    param: Array,
    step_size: Array,
    last_sign: Array,
) -> None:
    if weight_decay:
        grad = grad + weight_decay * param
    sign = np.sign(grad)
    turn = sign * last_sign
    eta = np.where(turn > 0, eta_plus, np.where(turn < 0, eta_minus, np.ones_like(eta_plus)))
    np.clip(step_size * eta, step_min, step_max, out=step_size)
    last_sign[...] = np.where(turn < 0, np.zeros_like(eta_plus), sign)
    param -= step_size * last_sign


class RProp(Optimizer):
    """iRprop- (Riedmiller & Braun 1993; Igel & Huesken 2003), PyTorch's Rprop.

    A weight's step grows by etas[1] while its gradient keeps its sign, shrinks by etas[0] when it
    turns, and the weight then rests for one step. Made for full-batch gradients: the noise of
    mini-batches turns signs at random.

    Args:
        lr: the first step size. It is not used after that.
        etas: (shrink, grow), shrink < 1 < grow.
        step_sizes: (smallest, largest).
    """

    kernel = UpdateKernel("optim/rprop", reference)
    steady = True

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            etas=etas,
            step_sizes=step_sizes,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int,
        lr: float,
        etas: tuple[float, float],
        step_sizes: tuple[float, float],
        weight_decay: float,
    ) -> dict[str, float]:
        return {
            "eta_minus": etas[0],
            "eta_plus": etas[1],
            "step_min": step_sizes[0],
            "step_max": step_sizes[1],
            "weight_decay": weight_decay,
        }

    def initial(self, slot: str, param: Array, hyper: Hyper) -> Array | float:
        return resolve(hyper["lr"], 0) if slot == "step_size" else 0.0

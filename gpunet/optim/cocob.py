"""COCOB: bets on coins instead of a learning rate."""

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
    alpha: Any,
    eps_denominator: Any,
    weight_decay: Any,
    param: Array,
    L: Array,
    G: Array,
    reward: Array,
    theta: Array,
    w1: Array,
) -> None:
    c = -(grad + weight_decay * param) if weight_decay else -grad
    np.maximum(L, np.abs(c), out=L)
    G += np.abs(c)
    reward += (param - w1) * c
    np.maximum(reward, 0, out=reward)
    theta += c
    wealth = L + reward
    width = np.maximum(G + L, alpha * L)
    known = L != 0  # and not L > 0: a nan must come out
    safe = np.where(known, L, np.ones_like(alpha))  # a weight never touched: bet nothing, not 0/0
    if eps_denominator:
        width = width + np.where(known, eps_denominator / safe, np.zeros_like(alpha))
    bet = (theta / safe) * (wealth / np.where(known, width, np.ones_like(alpha)))
    param[...] = w1 + np.where(known, bet, np.zeros_like(alpha))


class COCOB(Optimizer):
    """COCOB-Backprop (Orabona & Tommasi 2017, Algorithm 2): no learning rate.

    Each weight bets a share of its wealth on the next gradient's sign; param = w1 + bet, where w1
    are the first weights (not the last ones: adding bets up is a widespread mistake that
    diverges). The first step has size 1 / alpha whatever the gradient. weight_decay is L2.

    Args:
        alpha: how careful the first bets are.
        eps: the largest gradient seen (L) starts from here; 0 is the paper.
        eps_denominator: added to the whole denominator, so that rounding noise moves no weight;
            0 is the paper, 1e-6 the source notes.

    After changing weights from outside make a new optimizer: w1 would bring the old ones back.
    """

    kernel = UpdateKernel("optim/cocob", reference)
    steady = True
    has_lr = False

    def __init__(
        self,
        parameters: Iterable[Any] | None = None,
        alpha: float = 100.0,
        *,
        eps: float = 1e-8,
        eps_denominator: float = 0.0,
        weight_decay: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(
            parameters,
            alpha=alpha,
            eps=eps,
            eps_denominator=eps_denominator,
            weight_decay=weight_decay,
            **common,
        )

    @staticmethod
    def scalars(
        t: int, alpha: float, eps_denominator: float, weight_decay: float, **_: Any
    ) -> dict[str, float]:
        return {
            "alpha": alpha,
            "eps_denominator": eps_denominator,
            "weight_decay": weight_decay,
        }

    def initial(self, slot: str, param: Array, hyper: Hyper) -> Array | float:
        starts: dict[str, Array | float] = {"L": hyper["eps"], "w1": param}
        return starts.get(slot, 0.0)

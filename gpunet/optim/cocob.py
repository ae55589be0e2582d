"""COCOB: bets on coins instead of a learning rate."""

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer


class COCOB(Optimizer):
    """COCOB-Backprop (Orabona & Tommasi 2017, Algorithm 2): no learning rate.

    Each weight bets a share of its wealth on the next gradient's sign; param = w1 + bet, where w1
    are the first weights (not the last ones: adding bets up is a widespread mistake that
    diverges). The first step has size 1 / alpha whatever the gradient.

    Args:
        alpha: how careful the first bets are.
        eps: the largest gradient seen (L) starts from here; 0 is the paper.
        eps_denominator: added to the whole denominator, so that rounding noise moves no weight;
            0 is the paper, 1e-6 the source notes.

    After changing weights from outside make a new optimizer: w1 would bring the old ones back.
    """

    alpha: float = 100.0
    _: KW_ONLY
    eps: float = 1e-8
    eps_denominator: float = 0.0

    @staticmethod
    def reference(grad, alpha, eps_denominator, param, L, G, reward, theta, w1):
        c = -grad
        np.maximum(L, np.abs(c), out=L)
        G += np.abs(c)
        reward += (param - w1) * c
        np.maximum(reward, 0, out=reward)
        theta += c
        wealth = L + reward
        width = np.maximum(G + L, alpha * L)
        known = L != 0  # and not L > 0: a nan must come out
        safe = np.where(known, L, 1)  # a weight never touched: bet nothing, not 0/0
        if eps_denominator:
            width = width + np.where(known, eps_denominator / safe, 0)
        bet = (theta / safe) * (wealth / np.where(known, width, 1))
        param[...] = w1 + np.where(known, bet, 0)

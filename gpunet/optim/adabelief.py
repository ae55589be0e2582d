"""AdaBelief: large steps where the gradient is what was expected."""

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Pair, Rate


class AdaBelief(Optimizer):
    """AdaBelief (Zhuang et al. 2020), optax's form: s is the spread of the gradient around m.

    Args:
        eps: added to the root.
        eps_root: added to s at every step, where it piles up.
    """

    lr: Rate = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-16
    _: KW_ONLY
    eps_root: float = 1e-16

    @staticmethod
    def reference(grad, lr, beta1, beta2, eps, eps_root, correction1, correction2, param, m, s):
        m += (1 - beta1) * (grad - m)
        s *= beta2
        s += (1 - beta2) * (grad - m) ** 2
        s += eps_root
        param -= lr * (m / correction1) / (np.sqrt(s / correction2) + eps)

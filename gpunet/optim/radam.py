"""RAdam: Adam that waits until its second moment can be trusted."""

from math import sqrt

import numpy as np

from gpunet.optim.base import Optimizer, Pair, Rate


class RAdam(Optimizer):
    """RAdam (Liu et al. 2020, Algorithm 2), with PyTorch's threshold (rho_t > 5) and eps (on the
    root before bias correction).
    """

    lr: Rate = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8

    @staticmethod
    def derived(t, beta2, correction2):
        """r_t sqrt(1 - beta2^t), or 0 while the second moment's variance is too uncertain."""
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / correction2
        if rho <= 5:
            return {"rectification": 0.0}
        share = (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)
        return {"rectification": sqrt(share * correction2)}

    @staticmethod
    def reference(grad, lr, beta1, beta2, eps, correction1, rectification, param, m, v):
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad**2
        step = lr * (m / correction1)
        if rectification > 0:
            step = step * rectification / (np.sqrt(v) + eps)
        param -= step

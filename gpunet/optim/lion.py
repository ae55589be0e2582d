"""Lion: the sign of an average gradient."""

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Pair, Rate


class Lion(Optimizer):
    """Lion (Chen et al. 2023, Algorithm 2), optax's form; every weight moves by lr, so lr is three
    to ten times smaller than Adam's. weight_decay is decoupled, multiplied by lr.
    """

    lr: Rate = 1e-4
    betas: Pair = (0.9, 0.99)
    _: KW_ONLY
    weight_decay: float = 1e-3

    @staticmethod
    def reference(grad, lr, beta1, beta2, weight_decay, param, m):
        sign = np.sign(beta1 * m + (1 - beta1) * grad)
        param -= lr * (sign + weight_decay * param)
        m *= beta2
        m += (1 - beta2) * grad

"""AdaMax: Adam by the largest gradient instead of the root mean square."""

import numpy as np

from gpunet.optim.base import Optimizer, Pair, Rate


class AdaMax(Optimizer):
    """AdaMax (Kingma & Ba 2015, Algorithm 2): u = max(beta2 u, |grad| + eps);
    param -= lr / (1 - beta1^t) m / u. eps as in PyTorch; the paper has none.
    """

    lr: Rate = 2e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8

    @staticmethod
    def reference(grad, lr, beta1, beta2, eps, correction1, param, m, u):
        m += (1 - beta1) * (grad - m)
        np.maximum(beta2 * u, np.abs(grad) + eps, out=u)
        param -= lr * (m / correction1) / u

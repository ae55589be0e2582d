"""AdamW: Adam whose weight decay does not pass through the moments."""

from math import sqrt

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Pair, Rate


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2), PyTorch's form.

    param -= lr weight_decay param, then Adam's step. (The paper's decay is not multiplied by lr.)
    """

    lr: Rate = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    _: KW_ONLY
    weight_decay: float = 1e-2

    @staticmethod
    def derived(lr, eps, correction1, correction2):
        root = sqrt(correction2)
        return {"lr_t": lr * root / correction1, "eps_t": eps * root}

    @staticmethod
    def reference(grad, lr, weight_decay, lr_t, beta1, beta2, eps_t, param, m, v):
        param -= lr * weight_decay * param
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad**2
        param -= lr_t * m / (np.sqrt(v) + eps_t)

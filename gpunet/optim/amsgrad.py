"""AMSGrad: Adam whose denominator never shrinks."""

import numpy as np

from gpunet.optim.base import Optimizer, Pair, Rate


class AMSGrad(Optimizer):
    """AMSGrad (Reddi, Kale & Kumar 2018), PyTorch's Adam(amsgrad=True): the largest raw v so far,
    then bias correction.
    """

    lr: Rate = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8

    @staticmethod
    def reference(grad, lr, beta1, beta2, eps, correction1, correction2, param, m, v, v_max):
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad**2
        np.maximum(v_max, v, out=v_max)
        param -= lr * (m / correction1) / (np.sqrt(v_max / correction2) + eps)

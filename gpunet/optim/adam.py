"""Adam: momentum over gradients scaled by their own size."""

from math import sqrt

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Pair, Rate


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, Algorithm 1), PyTorch's defaults.

    Args:
        eps: added to the root of the bias-corrected v.
        eps_root: added under the root (optax).
        eps_hat: True reads eps, a number takes its place, as the eps of the paper's section 2,
            which is not corrected: so do the "from scratch" book, Chainer and Keras.
    """

    lr: Rate = 1e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    _: KW_ONLY
    eps_root: float = 0.0
    eps_hat: bool | float = False

    @staticmethod
    def derived(lr, eps, eps_root, eps_hat, correction1, correction2):
        """The corrections of m and v, moved to the scalars (section 2, last paragraph)."""
        root = sqrt(correction2)
        return {
            "lr_t": lr * root / correction1,
            "eps_t": eps * root if eps_hat is False else eps if eps_hat is True else eps_hat,
            "eps_root_t": eps_root * correction2,
        }

    @staticmethod
    def reference(grad, lr_t, beta1, beta2, eps_t, eps_root_t, param, m, v):
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad**2
        param -= lr_t * m / (np.sqrt(v + eps_root_t if eps_root_t else v) + eps_t)

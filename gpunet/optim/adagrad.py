"""AdaGrad: steps shrink where gradients have been large."""

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Rate


class AdaGrad(Optimizer):
    """AdaGrad (Duchi, Hazan & Singer 2011): h += grad^2; param -= lr grad / (sqrt(h) + eps).

    Args:
        initial_accumulator: what h starts from (0 in PyTorch, Chainer and the book; 0.1 in Keras
            and optax).
        eps_inside: the root covers eps, sqrt(h + eps), as in Keras and optax; False is PyTorch.
    """

    lr: Rate = 1e-2
    eps: float = 1e-10
    _: KW_ONLY
    initial_accumulator: float = 0.0
    eps_inside: bool = False

    @staticmethod
    def derived(eps, eps_inside):
        return {"eps": 0.0, "eps_root": eps} if eps_inside else {"eps_root": 0.0}

    @staticmethod
    def reference(grad, lr, eps, eps_root, param, sum_square):
        sum_square += grad**2
        param -= lr * grad / (np.sqrt(sum_square + eps_root) + eps)

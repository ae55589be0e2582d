"""RMSProp: AdaGrad that forgets."""

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Rate


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012): s = rho s + (1 - rho) grad^2;
    param -= lr grad / (sqrt(s) + eps).

    Args:
        rho: decay of the average, PyTorch's alpha.
        eps_inside: the root covers eps, sqrt(s + eps), as in Keras and optax; False is PyTorch.
        momentum: a velocity over the scaled gradients, PyTorch's form; 0 keeps no array for it.
        centered: subtract the squared average gradient from s (Graves 2013): an estimate of the
            variance. The kept array is that variance, which cannot fall below 0 by rounding.
    """

    lr: Rate = 1e-2
    rho: float = 0.99
    eps: float = 1e-8
    _: KW_ONLY
    momentum: float = 0.0
    centered: bool = False
    eps_inside: bool = False

    @staticmethod
    def derived(eps, eps_inside):
        return {"eps": 0.0, "eps_root": eps} if eps_inside else {"eps_root": 0.0}

    @staticmethod
    def reference(
        grad, lr, rho, eps, eps_root, momentum, param, square_avg, grad_avg=None, velocity=None
    ):
        if grad_avg is not None:  # centered
            off = grad - grad_avg
            square_avg += (1 - rho) * off**2
            square_avg *= rho
            grad_avg += (1 - rho) * off
        else:
            square_avg *= rho
            square_avg += (1 - rho) * grad**2
        step = grad / (np.sqrt(square_avg + eps_root) + eps)
        if velocity is not None:
            velocity *= momentum
            velocity += step
            step = velocity
        param -= lr * step

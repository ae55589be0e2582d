"""AdaDelta: RMSProp whose step has the units of the weights."""

import numpy as np

from gpunet.optim.base import Optimizer, Rate


class AdaDelta(Optimizer):
    """AdaDelta (Zeiler 2012, Algorithm 1). lr = 1 is the paper's; eps sets the speed at the start.

    PyTorch's defaults; Zeiler's rho is 0.95. (Keras's default lr is 0.001: a thousandth of this.)
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6

    @staticmethod
    def reference(grad, lr, rho, eps, param, square_avg, delta_avg):
        square_avg *= rho
        square_avg += (1 - rho) * grad**2
        delta = np.sqrt(delta_avg + eps) / np.sqrt(square_avg + eps) * grad
        delta_avg *= rho
        delta_avg += (1 - rho) * delta**2
        param -= lr * delta

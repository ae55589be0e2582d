"""Nesterov: the gradient is taken where the momentum is about to carry the weights."""

from gpunet.optim.base import Optimizer, Rate


class Nesterov(Optimizer):
    """Nesterov's accelerated gradient (Nesterov 1983; Sutskever et al. 2013, eq. 3-4).

    Written at the look-ahead point (Bengio et al. 2012), velocity form: v = momentum v - lr grad;
    param += momentum v - lr grad. The stored weights are the look-ahead point itself. Equals
    PyTorch's nesterov=True while lr is constant.
    """

    lr: Rate = 1e-2
    momentum: float = 0.9

    @staticmethod
    def reference(grad, lr, momentum, param, velocity):
        velocity *= momentum
        velocity -= lr * grad
        param += momentum * velocity - lr * grad

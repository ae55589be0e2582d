"""SGD: the plain step down the gradient."""

from gpunet.optim.base import Optimizer, Rate


class SGD(Optimizer):
    """Stochastic gradient descent (Robbins & Monro 1951): param -= lr * grad."""

    lr: Rate = 1e-3

    @staticmethod
    def reference(grad, lr, param):
        param -= lr * grad

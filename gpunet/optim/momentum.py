"""Momentum: a heavy ball that remembers its velocity."""

from gpunet.optim.base import Optimizer, Rate


class Momentum(Optimizer):
    """Momentum (Polyak 1964), velocity form: v = momentum v - lr grad; param += v.

    The form of the "from scratch" book, Chainer and Keras. With a constant lr it equals PyTorch's
    buffer form; when lr changes, old steps here keep the lr that they were made with. At momentum 1
    nothing of the velocity is ever lost: a slope that stays makes it grow without bound.
    """

    lr: Rate = 1e-2
    momentum: float = 0.9

    @staticmethod
    def reference(grad, lr, momentum, param, velocity):
        velocity *= momentum
        velocity -= lr * grad
        param += velocity

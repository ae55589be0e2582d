"""NAdam: Adam with Nesterov's look-ahead."""

from functools import lru_cache

import numpy as np

from gpunet.optim.base import KW_ONLY, Optimizer, Pair, Rate


class NAdam(Optimizer):
    """NAdam (Dozat 2016), PyTorch's form: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2).

    Args:
        momentum_decay: how fast mu_t rises to beta1; 0.004 in PyTorch, 1 in Keras.
    """

    lr: Rate = 2e-3
    betas: Pair = (0.9, 0.999)
    eps: float = 1e-8
    _: KW_ONLY
    momentum_decay: float = 4e-3

    @staticmethod
    def derived(t, beta1, momentum_decay):
        mu, product = momenta(beta1, momentum_decay, 1 << t.bit_length())
        return {
            "momentum_weight": mu[t] / (1 - product[t]),
            "grad_weight": (1 - mu[t - 1]) / (1 - product[t - 1]),
        }

    @staticmethod
    def reference(
        grad, lr, beta1, beta2, eps, momentum_weight, grad_weight, correction2, param, m, v
    ):
        m += (1 - beta1) * (grad - m)
        v *= beta2
        v += (1 - beta2) * grad**2
        step = momentum_weight * m + grad_weight * grad
        param -= lr * step / (np.sqrt(v / correction2) + eps)


@lru_cache(maxsize=64)
def momenta(beta1, momentum_decay, count):
    """mu_1, mu_2, ... and the products mu_1, mu_1 mu_2, ...: `count` + 1 of each."""
    mu = beta1 * (1 - 0.5 * 0.96 ** (momentum_decay * np.arange(1, count + 2)))
    return mu, np.cumprod(mu)

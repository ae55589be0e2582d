"""RProp: only the signs of the gradients, a step size for every weight."""

import numpy as np

from gpunet.optim.base import Optimizer, Pair, Rate


class RProp(Optimizer):
    """iRprop- (Riedmiller & Braun 1993; Igel & Huesken 2003), PyTorch's Rprop.

    A weight's step grows by etas[1] while its gradient keeps its sign, shrinks by etas[0] when it
    turns, and the weight then rests for one step. Made for full-batch gradients: the noise of
    mini-batches turns signs at random.

    Args:
        lr: the first step size. It is not used after that.
        etas: (shrink, grow), shrink < 1 < grow.
        step_sizes: (smallest, largest).
    """

    lr: Rate = 1e-2
    etas: Pair = (0.5, 1.2)
    step_sizes: Pair = (1e-6, 50.0)

    @staticmethod
    def derived(etas, step_sizes):
        bounds = {"step_min": step_sizes[0], "step_max": step_sizes[1]}
        return {**bounds, "eta_minus": etas[0], "eta_plus": etas[1]}

    @staticmethod
    def reference(grad, eta_minus, eta_plus, step_min, step_max, param, step_size, last_sign):
        sign = np.sign(grad)
        turn = sign * last_sign
        eta = np.where(turn > 0, eta_plus, np.where(turn < 0, eta_minus, 1))
        np.clip(step_size * eta, step_min, step_max, out=step_size)
        last_sign[...] = np.where(turn < 0, 0, sign)
        param -= step_size * last_sign

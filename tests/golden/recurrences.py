"""The optimizers' recurrences, as plain NumPy loops over their textbook definitions.

A second reading of the definitions, written from the papers and independent both of gpunet and of
the libraries that made ``optimizers.npz``. ``make_optimizers.py --check`` compares the two, so that
a wrong reading of a formula shows here and not first in gpunet's kernels. It needs NumPy only.

Each function takes the initial parameter and the hyper-parameters (gpunet's names) and returns
``step(t, g, w, lr)``, which gives the parameter after step t = 1, 2, ... All are elementwise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Step = Callable[[int, Array, Array, float], Array]
Options = dict[str, Any]

DECOUPLED = ("AdamW", "Lion")  # weight decay acts on the parameter, not on the gradient


def sgd(w0: Array, o: Options) -> Step:
    """Plain gradient descent."""
    return lambda t, g, w, lr: w - lr * g


def momentum(w0: Array, o: Options) -> Step:
    """Polyak 1964, velocity form: v keeps the learning rate of the step that made it."""
    v = np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal v
        v = o["momentum"] * v - lr * g
        return w + v

    return step


def nesterov(w0: Array, o: Options) -> Step:
    """Bengio 2012: the stored weights are the look-ahead point of Sutskever 2013."""
    v = np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal v
        mu = o["momentum"]
        new = w + mu * mu * v - (1 + mu) * lr * g
        v = mu * v - lr * g
        return new

    return step


def adagrad(w0: Array, o: Options) -> Step:
    """Duchi 2011. With eps inside the root, nothing moves where the accumulator is 0."""
    h = np.full_like(w0, o.get("initial_accumulator", 0.0))

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal h
        h = h + g**2
        if o.get("eps_inside", False):
            return w - lr * np.where(h > 0, g / np.sqrt(h + o["eps"]), 0.0)
        return w - lr * g / (np.sqrt(h) + o["eps"])

    return step


def rmsprop(w0: Array, o: Options) -> Step:
    """Tieleman & Hinton 2012; centered as Graves 2013; momentum buffer without lr (PyTorch)."""
    s, m, b = np.zeros_like(w0), np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal s, m, b
        rho, eps = o["rho"], o["eps"]
        s = rho * s + (1 - rho) * g**2
        m = rho * m + (1 - rho) * g
        var = s - m**2 if o.get("centered", False) else s
        den = np.sqrt(var + eps) if o.get("eps_inside", False) else np.sqrt(var) + eps
        b = o.get("momentum", 0.0) * b + g / den
        return w - lr * b

    return step


def rprop(w0: Array, o: Options) -> Step:
    """iRprop- (Igel & Huesken 2003): a weight whose gradient flips rests for one step."""
    delta, before = np.full_like(w0, o["lr"]), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal delta, before
        (shrink, grow), (low, high) = o["etas"], o["step_sizes"]
        agree = np.sign(g) * np.sign(before)
        factor = np.where(agree > 0, grow, np.where(agree < 0, shrink, 1.0))
        delta = np.clip(delta * factor, low, high)
        before = np.where(agree < 0, 0.0, g)
        return w - np.sign(before) * delta

    return step


def adadelta(w0: Array, o: Options) -> Step:
    """Zeiler 2012: the accumulator of updates does not see lr."""
    sq, dsq = np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal sq, dsq
        rho, eps = o["rho"], o["eps"]
        sq = rho * sq + (1 - rho) * g**2
        d = np.sqrt(dsq + eps) / np.sqrt(sq + eps) * g
        dsq = rho * dsq + (1 - rho) * d**2
        return w - lr * d

    return step


def adam(w0: Array, o: Options) -> Step:
    """Kingma & Ba 2015, Algorithm 1; with eps_hat the order of their section 2."""
    (b1, b2), eps = o["betas"], o["eps"]
    m, v = np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, v
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        c1, c2 = 1 - b1**t, 1 - b2**t
        if o.get("eps_hat", False):
            return w - lr * np.sqrt(c2) / c1 * m / (np.sqrt(v) + eps)
        return w - lr * (m / c1) / (np.sqrt(v / c2 + o.get("eps_root", 0.0)) + eps)

    return step


def adamw(w0: Array, o: Options) -> Step:
    """Loshchilov & Hutter 2019, with the decay multiplied by lr as in PyTorch."""
    inner = adam(w0, o)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        return inner(t, g, w, lr) - lr * o["weight_decay"] * w

    return step


def amsgrad(w0: Array, o: Options) -> Step:
    """Reddi 2018 as PyTorch has it: the maximum is over the uncorrected second moment."""
    (b1, b2), eps = o["betas"], o["eps"]
    m, v, top = np.zeros_like(w0), np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, v, top
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = np.maximum(top, v)
        return w - lr * (m / (1 - b1**t)) / (np.sqrt(top / (1 - b2**t)) + eps)

    return step


def adamax(w0: Array, o: Options) -> Step:
    """Kingma & Ba 2015, section 7.1, with PyTorch's eps inside the maximum."""
    (b1, b2), eps = o["betas"], o["eps"]
    m, u = np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, u
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        return w - lr / (1 - b1**t) * m / u

    return step


def nadam(w0: Array, o: Options) -> Step:
    """Dozat 2016 with the momentum schedule mu_t = b1 (1 - 0.96^(t psi) / 2)."""
    (b1, b2), eps, psi = o["betas"], o["eps"], o["momentum_decay"]
    m, v, product = np.zeros_like(w0), np.zeros_like(w0), 1.0

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, v, product
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        mu = b1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        product *= mu
        top = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        return w - lr * top / (np.sqrt(v / (1 - b2**t)) + eps)

    return step


def radam(w0: Array, o: Options) -> Step:
    """Liu 2020; PyTorch rectifies from r_t > 5 and adds eps before the bias correction."""
    (b1, b2), eps = o["betas"], o["eps"]
    m, v = np.zeros_like(w0), np.zeros_like(w0)
    rinf = 2 / (1 - b2) - 1

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, v
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        c2 = 1 - b2**t
        r = rinf - 2 * t * b2**t / c2
        mhat = m / (1 - b1**t)
        if r <= 5:
            return w - lr * mhat
        rect = np.sqrt((r - 4) * (r - 2) * rinf / ((rinf - 4) * (rinf - 2) * r))
        return w - lr * rect * mhat * np.sqrt(c2) / (np.sqrt(v) + eps)

    return step


def adabelief(w0: Array, o: Options) -> Step:
    """Zhuang 2020; eps_root is added to the stored moment at each step, so it piles up."""
    (b1, b2), eps = o["betas"], o["eps"]
    m, s = np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m, s
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + o["eps_root"]
        return w - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)

    return step


def lion(w0: Array, o: Options) -> Step:
    """Chen 2023, decoupled decay."""
    b1, b2 = o["betas"]
    m = np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal m
        direction = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        return w - lr * (direction + o["weight_decay"] * w)

    return step


def cocob(w0: Array, o: Options) -> Step:
    """Orabona & Tommasi 2017, Algorithm 2, in the factored form; eps is the initial scale."""
    scale, total = np.full_like(w0, o["eps"]), np.zeros_like(w0)
    reward, theta = np.zeros_like(w0), np.zeros_like(w0)

    def step(t: int, g: Array, w: Array, lr: float) -> Array:
        nonlocal scale, total, reward, theta
        scale = np.maximum(scale, np.abs(g))
        total = total + np.abs(g)
        reward = np.maximum(reward - (w - w0) * g, 0)
        theta = theta - g
        wealth = (scale + reward) / np.maximum(total + scale, o["alpha"] * scale)
        return w0 + theta / scale * wealth

    return step


RECURRENCES: dict[str, Callable[[Array, Options], Step]] = {
    "SGD": sgd,
    "Momentum": momentum,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "RProp": rprop,
    "AdaDelta": adadelta,
    "Adam": adam,
    "AdamW": adamw,
    "AMSGrad": amsgrad,
    "AdaMax": adamax,
    "NAdam": nadam,
    "RAdam": radam,
    "AdaBelief": adabelief,
    "Lion": lion,
    "COCOB": cocob,
}


def clip(g: Array, how: dict[str, float]) -> Array:
    """Clip by global norm (PyTorch's: max_norm / (norm + 1e-6), at most 1) or by value."""
    if "norm" in how:
        norm = np.sqrt(np.sum(g**2))
        return g * min(1.0, how["norm"] / (norm + 1e-6))
    return np.clip(g, -how["value"], how["value"]) if "value" in how else g


def trajectory(case: dict[str, Any], data: dict[str, Array]) -> Array:
    """Parameters after every step, (steps, n), of one case of ``optimizers.json``."""
    options = case["resolved"]
    w = data["initial"].copy()
    step = RECURRENCES[case["optimizer"]](w.copy(), options)
    coupled = 0.0 if case["optimizer"] in DECOUPLED else options.get("weight_decay", 0.0)
    rows = []
    for t, raw in enumerate(data["gradients"], start=1):
        lr = data["lr_schedule"][t - 1] if case["lr_schedule"] else options.get("lr", 0.0)
        w = step(t, clip(raw, case["clip"]) + coupled * w, w, lr)
        rows.append(w)
    return np.array(rows)

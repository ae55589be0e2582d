"""The activations as ops: formulas on NumPy arrays beside those of kernels/nn/activation.cuh.

`TABLE` is what all others know them by: a row here and one there make a new one.
docs/backward.md derives the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpunet import checked
from gpunet.backend import Array
from gpunet.inputs import floating
from gpunet.kernel import Kernel
from gpunet.normal import normal_cdf
from gpunet.tape import Pair
from gpunet.tensor import op

__all__ = ["elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"]

Numbers = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Formula:
    """An activation on NumPy arrays.

    value: y from (x, alpha), alpha being the setting of those that have one.
    backward: the gradient of x from (gy, seen, alpha).
    source: what is `seen`: the "input" x or the "output" y; "output 0" if besides the gradient is 0
        where y is 0.
    """

    value: Callable[[Numbers, float], Numbers]
    backward: Callable[[Numbers, Numbers, float], Numbers]
    source: Literal["output", "output 0", "input"]


# SiLU and GELU are x times a gate, which goes from 0 to 1 and is there where |x| is BOUND: in its
# place an infinite x would meet a 0, and their product is nan.
BOUND = 1e4


def _gated(gate: Callable[[Numbers], tuple[Numbers, Numbers]]) -> Formula:
    """x gate(x), from a function that returns the gate and its slope for |x| up to BOUND."""

    def value(x: Numbers, alpha: float) -> Numbers:
        y, _ = gate(np.clip(x, -BOUND, BOUND))
        return np.asarray(np.maximum(x, -BOUND) * y)

    def backward(gy: Numbers, x: Numbers, alpha: float) -> Numbers:
        x = np.clip(x, -BOUND, BOUND)
        y, slope = gate(x)
        return np.asarray(gy * (y + x * slope))

    return Formula(value, backward, "input")


def _logistic(x: Numbers) -> tuple[Numbers, Numbers]:
    """The sigmoid s and its slope s (1 - s), in a form that does not cancel."""
    z = np.exp(-np.abs(x))  # cannot overflow
    return np.where(x >= 0, np.ones((), x.dtype), z) / (1 + z), z / ((1 + z) * (1 + z))


def _gelu_gate(x: Numbers) -> tuple[Numbers, Numbers]:
    return normal_cdf(x), np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _gelu_tanh_gate(x: Numbers) -> tuple[Numbers, Numbers]:
    """The sigmoid of 2 sqrt(2 / pi) (x + 0.044715 x^3)."""
    factor, square = 2 * math.sqrt(2 / math.pi), x * x
    s, slope = _logistic(factor * x * (1 + 0.044715 * square))
    return s, slope * factor * (1 + 3 * 0.044715 * square)


TABLE: dict[str, Formula] = {
    "relu": Formula(
        lambda x, _: np.maximum(x, 0),
        # Not gy * (y > 0): an infinite gy times 0 is nan, and the kernel says 0.
        lambda gy, y, _: np.where(y > 0, gy, gy.dtype.type(0)),
        "output 0",
    ),
    "sigmoid": Formula(
        lambda x, _: _logistic(x)[0],
        lambda gy, y, _: gy * y * (1 - y),
        "output 0",
    ),
    "tanh": Formula(
        lambda x, _: np.tanh(x),
        lambda gy, y, _: gy * (1 - y * y),
        "output",
    ),
    "leaky_relu": Formula(
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda gy, y, slope: np.where(y > 0, gy, slope * gy),
        "output",
    ),
    "elu": Formula(
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        lambda gy, y, alpha: np.where(y > 0, gy, gy * (np.minimum(y, 0) + alpha)),
        "output",
    ),
    "softplus": Formula(
        lambda x, _: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        lambda gy, y, _: -gy * np.expm1(-y),
        "output 0",
    ),
    "silu": _gated(_logistic),
    "gelu": _gated(_gelu_gate),
    "gelu_tanh": _gated(_gelu_tanh_gate),
}
NUMBERS: dict[str | None, int] = {None: 0} | {name: k for k, name in enumerate(TABLE, 1)}
_FORMULAS = [*TABLE.values()]

ACTIVATE = Kernel("nn/activate", lambda x, act, alpha: _FORMULAS[act - 1].value(x, alpha))
ACTIVATE_BACKWARD = Kernel(
    "nn/activate_backward",
    lambda gy, seen, act, alpha: _FORMULAS[act - 1].backward(gy, seen, alpha),
)


def _pair(name: str, x: Array, alpha: float = 0.0) -> Pair:
    x, act = floating(x), NUMBERS[name]
    y = ACTIVATE(x, act, alpha)
    if TABLE[name].source == "input":
        return y, lambda gy: ACTIVATE_BACKWARD(gy, x, act, alpha)
    return y, lambda gy: ACTIVATE_BACKWARD(gy, y, act, alpha)


@op
def relu(x: Array) -> Pair:
    """max(x, 0); the subgradient at 0 is 0."""
    return _pair("relu", x)


@op
def sigmoid(x: Array) -> Pair:
    """1 / (1 + exp(-x)), without overflow."""
    return _pair("sigmoid", x)


@op
def tanh(x: Array) -> Pair:
    """Hyperbolic tangent."""
    return _pair("tanh", x)


@op
def leaky_relu(x: Array, *, slope: float = 0.01) -> Pair:
    """x, and slope x below 0 (Maas et al. 2013); the subgradient at 0 is the slope.

    ValueError for a slope below 0: the gradient is made from y, whose sign is x's then.
    """
    return _pair("leaky_relu", x, checked.not_negative(slope, "slope"))


@op
def elu(x: Array, *, alpha: float = 1.0) -> Pair:
    """x, and alpha (exp(x) - 1) below 0 (Clevert et al. 2016); the subgradient at 0 is alpha.

    ValueError for an alpha below 0: the gradient is made from y, whose sign is x's then.
    """
    return _pair("elu", x, checked.not_negative(alpha, "alpha"))


@op
def softplus(x: Array) -> Pair:
    """log(1 + exp(x)), without overflow (Dugas et al. 2001)."""
    return _pair("softplus", x)


@op
def silu(x: Array) -> Pair:
    """x sigmoid(x) (Elfwing et al. 2018), also called swish; 0 at -inf."""
    return _pair("silu", x)


check_approximate = checked.one_of("none", "tanh")


@op
def gelu(x: Array, *, approximate: str = "none") -> Pair:
    """x times the share of a normal distribution below x (Hendrycks & Gimpel 2016); 0 at -inf.

    approximate: "none", or "tanh" for the paper's (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    in the share's place, off by up to 5e-4. ValueError for another word.
    """
    tanh_form = check_approximate(approximate, "approximate") == "tanh"
    return _pair("gelu_tanh" if tanh_form else "gelu", x)

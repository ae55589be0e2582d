"""The activations as layers."""

from __future__ import annotations

from typing import Any

from gpunet import activations, checked, initializers
from gpunet.checked import Checked
from gpunet.layer import Layer
from gpunet.tensor import Tensor


class Activation(Layer):
    """A layer around one op of `activations`.

    formula: its row of `activations.TABLE`; alpha: its setting there, 0 where it has none. Both may
    change with the settings, what the row's gradient is made from may not.
    """

    formula: str
    alpha: float = 0.0

    @property
    def init(self) -> initializers.Initializer:
        """What the weights before it are drawn from. He's is ReLU's; of its smooth relatives it is
        the usual choice too, though they keep a little more (ELU) or less (GELU, SiLU) of the
        spread.
        """
        return initializers.He()

    def config(self) -> dict[str, Any]:
        return {}


class ReLU(Activation):
    """max(x, 0); the subgradient at 0 is 0."""

    formula = "relu"

    def call(self, x: Tensor) -> Tensor:
        return activations.relu(x)


class LeakyReLU(Activation):
    """x, and slope x below 0; see `leaky_relu`. slope: a number from 0."""

    formula = "leaky_relu"
    slope = Checked(checked.not_negative)

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    @property
    def alpha(self) -> float:  # type: ignore[override]
        return self.slope

    @property
    def init(self) -> initializers.Initializer:
        return initializers.He(self.slope)

    def call(self, x: Tensor) -> Tensor:
        return activations.leaky_relu(x, slope=self.slope)

    def config(self) -> dict[str, Any]:
        return {"slope": self.slope}


class ELU(Activation):
    """x, and alpha (exp(x) - 1) below 0; see `elu`. alpha: a number from 0."""

    formula = "elu"
    alpha = Checked(checked.not_negative)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def call(self, x: Tensor) -> Tensor:
        return activations.elu(x, alpha=self.alpha)

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class Softplus(Activation):
    """log(1 + exp(x))."""

    formula = "softplus"

    def call(self, x: Tensor) -> Tensor:
        return activations.softplus(x)


class SiLU(Activation):
    """x sigmoid(x), also called swish; see `silu`."""

    formula = "silu"

    def call(self, x: Tensor) -> Tensor:
        return activations.silu(x)


class GELU(Activation):
    """x times the share of a normal distribution below x; see `gelu`.

    approximate: "none", or "tanh" for a cheaper form that is off by up to 5e-4.
    """

    approximate = Checked(activations.check_approximate)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    @property
    def formula(self) -> str:  # type: ignore[override]
        """The row of the table that the fused step takes: "gelu" or "gelu_tanh"."""
        return "gelu" if self.approximate == "none" else "gelu_tanh"

    def call(self, x: Tensor) -> Tensor:
        return activations.gelu(x, approximate=self.approximate)

    def config(self) -> dict[str, Any]:
        return {"approximate": self.approximate}


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    formula = "sigmoid"

    @property
    def init(self) -> initializers.Initializer:
        return initializers.Xavier()

    def call(self, x: Tensor) -> Tensor:
        return activations.sigmoid(x)


class Tanh(Activation):
    """Hyperbolic tangent."""

    formula = "tanh"

    @property
    def init(self) -> initializers.Initializer:
        return initializers.Xavier()

    def call(self, x: Tensor) -> Tensor:
        return activations.tanh(x)


# By the names that MLP takes.
ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "softplus": Softplus,
    "silu": SiLU,
    "gelu": GELU,
}

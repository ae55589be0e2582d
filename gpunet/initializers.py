"""Initial weights of shape (..., in, out), drawn on the host in float64.

`Affine` takes one of these, or any function `(generator, shape) -> array`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:  # numpy.random loads slowly, and not before a layer is made
    from numpy.random import Generator

Weights: TypeAlias = np.ndarray[Any, Any]
Initializer: TypeAlias = "Callable[[Generator, tuple[int, ...]], Weights]"


@dataclass(frozen=True)
class Normal:
    """N(0, std^2); the "from scratch" book's weight_init_std. ValueError for a negative std."""

    std: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.std < math.inf:
            raise ValueError(f"std must be a finite number from 0, got {self.std}")

    def __call__(self, generator: Generator, shape: tuple[int, ...]) -> Weights:
        return generator.standard_normal(shape) * self.std


@dataclass(frozen=True)
class He:
    """N(0, 2 / (1 + slope^2) / in) (He et al. 2015, eq. 10, 15): keeps the spread through ReLU,
    whose gain is sqrt(2), or through a LeakyReLU of that slope. ValueError for an endless slope.
    """

    slope: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.slope):
            raise ValueError(f"slope must be a finite number, got {self.slope}")

    def __call__(self, generator: Generator, shape: tuple[int, ...]) -> Weights:
        gain = math.sqrt(2 / (1 + self.slope**2))
        return Normal(gain / math.sqrt(max(shape[-2], 1)))(generator, shape)


@dataclass(frozen=True)
class Xavier:
    """N(0, 2 / (in + out)), or uniform of that variance (Glorot & Bengio 2010, eq. 12, 16)."""

    uniform: bool = False

    def __call__(self, generator: Generator, shape: tuple[int, ...]) -> Weights:
        std = math.sqrt(2 / max(shape[-2] + shape[-1], 1))
        if self.uniform:
            return generator.uniform(-1, 1, shape) * (std * math.sqrt(3))
        return Normal(std)(generator, shape)


Glorot = Xavier


@dataclass(frozen=True)
class LeCun:
    """N(0, 1 / in) (LeCun et al. 1998, section 4.6); what the "from scratch" book calls Xavier."""

    def __call__(self, generator: Generator, shape: tuple[int, ...]) -> Weights:
        return Normal(math.sqrt(1 / max(shape[-2], 1)))(generator, shape)

"""Which runs a comparison consists of, and the learning rates that it tries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpunet.optim import OPTIMIZERS, Optimizer

# (lowest, highest) learning rate tried, so that on small MLPs the best lies well inside. Steps of
# the size of the learning rate itself (Lion) want less, AdaDelta's own units want about 1.
RANGES: dict[str, tuple[float, float]] = {
    "sgd": (1e-3, 10.0),
    "momentum": (3e-4, 3.0),
    "nesterov": (3e-4, 3.0),
    "adagrad": (1e-3, 10.0),
    "rmsprop": (3e-5, 0.3),
    "rprop": (1e-4, 1.0),
    "adadelta": (1e-2, 100.0),
    "adamax": (3e-4, 3.0),
    "radam": (3e-4, 3.0),
    "lion": (3e-6, 3e-2),
}
ADAM_LIKE = (1e-4, 1.0)


@dataclass(frozen=True)
class Setup:
    """What all runs share. hidden: hidden layer sizes; device: "cpu" or "cuda"."""

    hidden: tuple[int, ...] = (100, 50)
    epochs: int = 15
    batch_size: int = 32
    device: str = "cpu"


@dataclass(frozen=True)
class Run:
    """One training. optimizer: its name in OPTIMIZERS; lr: None if it has no learning rate."""

    optimizer: str
    lr: float | None
    seed: int

    def make(self, parameters: Iterable[Any] | None = None) -> Optimizer:
        """The run's optimizer, its other settings at their defaults."""
        settings: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        return OPTIMIZERS[self.optimizer](parameters, **settings)

    @property
    def label(self) -> str:
        """For the name of a file."""
        lr = "" if self.lr is None else f"-lr{self.lr:g}"
        return f"{self.optimizer}{lr}-seed{self.seed}"


def half_decades(low: float, high: float) -> list[float]:
    """1, 3, 10, 30, ... from `low` to `high`, both included if they are of that form."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ladder = [float(f"{digit}e{k}") for k in range(first, last + 1) for digit in (1, 3)]
    return [x for x in ladder if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]


def default_grid(optimizer: str) -> list[float]:
    """The learning rates tried for it, half a decade apart."""
    return half_decades(*RANGES.get(optimizer, ADAM_LIKE))


def grids(
    optimizers: Iterable[str], given: Sequence[tuple[str | None, list[float]]] = ()
) -> dict[str, list[float | None]]:
    """Each optimizer's learning rates: its own of those given, else the common one, else the
    default; [None] where there is none to choose. ValueError for a grid that nobody uses.
    """
    chosen: Mapping[str | None, list[float]] = dict(given)
    names = list(optimizers)
    unused = [name for name in chosen if name is not None and name not in names]
    if unused:
        raise ValueError(f"a grid for {unused[0]}, which is not among {', '.join(names)}")
    common = chosen.get(None)
    return {
        name: list(chosen.get(name) or common or default_grid(name))
        if OPTIMIZERS[name].has_lr
        else [None]
        for name in names
    }


def all_runs(rates: Mapping[str, Sequence[float | None]], seeds: int) -> list[Run]:
    """Every run, one whole seed after the other, so that an early end leaves a fair picture."""
    return [Run(name, lr, seed) for seed in range(seeds) for name in rates for lr in rates[name]]

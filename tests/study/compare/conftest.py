"""Results made by hand, and small real data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gpunet.data import Dataset, split
from gpunet.study.compare.grid import Run
from gpunet.study.compare.runs import Result

Make = Callable[..., Result]


@pytest.fixture(scope="session")
def small() -> Dataset:
    """120 rows of 3 features, two classes that a line almost separates."""
    generator = np.random.Generator(np.random.Philox(7))
    x = generator.normal(size=(120, 3)).astype(np.float32)
    t = (x[:, 0] + 0.3 * generator.normal(size=120) > 0).astype(np.int64)
    return Dataset("small", *split(x, t), ("no", "yes"))


@pytest.fixture(scope="session")
def make() -> Make:
    """A result with this validation loss in its last epoch."""

    def made(
        optimizer: str = "adam",
        lr: float | None = 0.01,
        seed: int = 0,
        loss: float = 0.5,
        accuracy: Sequence[float] | None = (0.1, 0.5, 0.9),
        train: Sequence[float] = (2.0, 1.0, 0.5),
        nonfinite: tuple[int, int, str] | None = None,
    ) -> Result:
        shown = None if accuracy is None else list(accuracy)
        curve = [2.0, 1.5 if loss < 1.5 else loss + 1, loss]
        return Result(
            Run(optimizer, lr, seed),
            list(train),
            curve,
            shown,
            [0.0, 0.5, 1.0],
            loss if math.isfinite(loss) else None,
            None if accuracy is None else 0.85,
            nonfinite,
        )

    return made

"""Adam's corrections in numbers: how long its first steps are with them, and would be without.

Kingma & Ba (2015), section 3: m and v start from 0 and are too small by 1 - beta^t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.optim import Adam
from gpunet.parameter import Parameter
from gpunet.study.tables import Table

STEPS = (1, 2, 3, 5, 10, 30, 100, 300, 1000)


def corrections(betas: Sequence[float] = (0.9, 0.999), noise: float = 0.0) -> Table:
    """The first steps under gradients of 1, with normal noise of this deviation added.

    ValueError for other than two betas, or one outside [0, 1).
    """
    if len(betas) != 2:
        raise ValueError(f"Adam has two betas, such as 0.9,0.999; got {len(betas)}")
    weight = Parameter(np.zeros(1))
    adam = Adam([weight], lr=1.0, betas=(betas[0], betas[1]))
    draw = np.random.default_rng(0)
    rows = []
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(1, STEPS[-1] + 1):
            before = weight.data.item()
            weight.grad = 1 + noise * draw.standard_normal(1)
            adam.step()
            fix1, fix2 = (1 - beta**t for beta in adam.betas)
            step = before - weight.data.item()
            if t in STEPS:
                # The step is m / fix1 / sqrt(v / fix2): without them it is m / sqrt(v).
                rows.append((t, fix1, fix2, step, step * fix1 / fix2**0.5))
    return Table(
        f"Adam, betas {adam.betas}, gradients of 1"
        + (f" with noise of deviation {noise:g}" if noise else "")
        + ": steps as multiples of lr",
        ("t", "1 - beta1^t", "1 - beta2^t", "step", "without corrections"),
        rows,
        "Without them the first step is (1 - beta1) / sqrt(1 - beta2) times lr, and it is not the "
        "longest.",
        words=0,
    )

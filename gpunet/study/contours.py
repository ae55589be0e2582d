"""A landscape's heights on a grid, and the levels at which to draw lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.study.landscapes import Landscape

Host = np.ndarray[Any, Any]


def heights(landscape: Landscape, columns: int, rows: int = 1) -> Host:
    """Values over the window: (columns,) for one variable, (rows, columns) for two, y upwards."""
    counts = (columns, rows)[: landscape.dim]
    axes = [
        np.linspace(low, high, n) for (low, high), n in zip(landscape.window, counts, strict=True)
    ]
    return np.asarray(landscape(np.stack(np.meshgrid(*axes), axis=-1)))


def levels(values: Host, count: int = 14) -> Host:
    """`count` + 1 rising levels from the lowest finite value to the highest, denser below.

    They rise as a power of their number, the one that puts half of the area under the middle
    level: evenly where heights are, and nearly by orders of magnitude in a steep valley.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no height is finite: there is nothing to draw")
    low, high = float(finite.min()), float(finite.max())
    if high == low:
        return np.array([low, low + 1.0])
    middle = (float(np.median(finite)) - low) / (high - low)
    power = np.clip(np.log(max(middle, 1e-12)) / np.log(0.5), 1.0, 8.0)
    shares: Host = np.linspace(0, 1, count + 1) ** power
    return low + (high - low) * shares

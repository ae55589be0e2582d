"""Nothing is timed before it is shown to compute the same: the first losses of all peers.

With dropout the libraries draw different masks. The step by step comparison is made without it, and
with it only the mean of the first losses must be near gpunet's, so that none leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STEPS = 20
# Of a loss, or of 1 where the loss is smaller. Adam makes of rounding, where a gradient is nearly
# 0, a step as large as any, and libraries differ in where they add eps.
TOLERANCE = {"sgd": 1e-5, "momentum": 1e-5, "adam": 5e-3}
NEAR = 0.1  # of the mean loss, with dropout


def error(losses: Sequence[float], expected: Sequence[float]) -> float:
    """The largest difference, relative where the loss is above 1; nan if any loss is."""
    a, b = np.asarray(losses, np.float64), np.asarray(expected, np.float64)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1)))


def problem(losses: Sequence[float], expected: Sequence[float], tolerance: float) -> str:
    """What is wrong with a peer's losses, or "" if they are gpunet's."""
    a, b = np.asarray(losses, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        return f"{a.size} losses, expected {b.size}"
    wrong = ~(np.abs(a - b) <= tolerance * np.maximum(np.abs(b), 1))  # a nan is wrong, too
    if not wrong.any():
        return ""
    step = int(np.argmax(wrong))
    return f"computes something else: loss {a[step]:.6g} at step {step + 1}, gpunet's {b[step]:.6g}"


def dropout_problem(losses: Sequence[float], expected: Sequence[float]) -> str:
    """The same for losses with dropout on."""
    mean, wanted = float(np.mean(losses)), float(np.mean(expected))
    if abs(mean - wanted) <= NEAR * abs(wanted):
        return ""
    return f"computes something else: mean loss with dropout {mean:.4g}, gpunet's {wanted:.4g}"

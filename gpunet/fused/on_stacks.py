"""The ops of `on_numpy` for several models of one shape at once: arrays are (models, rows,
columns), and what a single model has a row of, a bias or a mean, is (models, 1, columns).

Only what multiplies, and the loss, is written anew. NumPy's product of stacks takes the models one
by one, each as alone: the numbers are those of each model alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.functional import log_softmax
from gpunet.fused import on_numpy, passes
from gpunet.fused.on_numpy import (
    batch_norm,
    batch_norm_backward,
    bias_act,
    bias_act_backward,
    empty_logits,
    norm_act,
)
from gpunet.losses import softmax_cross_entropy

__all__ = [  # as they are
    "batch_norm",
    "batch_norm_backward",
    "bias_act",
    "bias_act_backward",
    "empty_logits",
    "norm_act",
]

dot = np.matmul  # (a, b, out)


def add_dot(a: Array, b: Array, out: Array) -> None:
    """out += a @ b."""
    np.add(out, np.matmul(a, b), out=out)


class Workspace(on_numpy.Workspace):
    """As on_numpy's; `ones`, `share` and `classes` are rows, (1, rows) and (1, classes).

    samples: where in the logits each model's samples are, (models, rows).
    """

    def __init__(self, xp: Any, rows: int, columns: Sequence[int], dtype: Any, models: int) -> None:
        super().__init__(xp, rows, columns, dtype, models)
        self.ones, self.share, self.classes = self.ones[None], self.share[None], self.classes[None]
        first = np.arange(models)[:, None] * (columns[-1] * rows)
        self.samples = first + self.samples
        self.places = np.empty_like(self.samples)
        self.dot, self.add_dot = dot, add_dot


def logits(x: Array, W: Array, out: Array) -> Array:
    """x @ W in `out`, which `empty_logits` made."""
    np.matmul(W.mT, x.mT, out.mT)
    return out


def softmax_loss(
    z: Array,
    b: Array | None,
    db: Array | None,
    labels: Array,
    losses: Array,
    smoothing: float,
    share: float,
    add: bool,
    work: Workspace,
) -> None:
    """As on_numpy's. labels: (models, rows), or (rows,) for all. losses: float64 (models,)."""
    models, rows, classes = z.shape
    f, do = z.mT, passes if smoothing else work.passes
    chosen = do.shifted(z, b, labels, work)
    chosen, ones = np.vecdot(chosen, work.ones[0]), work.ones[0]
    if smoothing:
        total = f.reshape(models, -1).sum(axis=1)
        chosen = (1 - smoothing) * chosen + smoothing / classes * total
    np.exp(f, out=f)
    total = np.matmul(work.classes, f)
    logs = np.vecdot(np.log(total[:, 0]), ones)
    losses[...] = (logs.astype(np.float64) - chosen) / rows
    step = np.asarray(share / rows, z.dtype)
    do.pulled(z, np.divide(step, total, out=total), step, labels, work)
    if smoothing:
        f.reshape(-1)[work.places] += step * smoothing
        np.subtract(f, step * smoothing / classes, out=f)
    if db is not None:
        (add_dot if add else dot)(f, work.ones.mT, db.mT)


def score(
    z: Array, b: Array | None, labels: Array, smoothing: float, found: Array, work: Any
) -> None:
    """As on_numpy's. labels: (rows,), for all. found: float64 (models, 2)."""
    models, rows, _ = z.shape
    if b is not None:
        np.add(z, b, out=z)
    if smoothing:
        each = np.broadcast_to(labels, (models, rows))
        found[:, 0], _ = softmax_cross_entropy.pair(z, each, label_smoothing=smoothing)
    else:  # where all other terms are 0
        (logp, _), samples = log_softmax.pair(z), np.arange(rows)
        terms = np.zeros_like(logp)
        terms[:, samples, labels] = logp[:, samples, labels] * z.dtype.type(-1 / rows)
        found[:, 0] = terms.reshape(models, -1).sum(axis=1)
    found[:, 1] = np.count_nonzero(z.argmax(axis=-1) == labels, axis=-1)

"""The ops of a network: each one function on arrays returning `(y, backward)`.

Arrays are (..., batch, features): affine multiplies over the last two axes, batch_norm reduces
over axis -2, softmax over -1. Leading axes are separate models and keep separate losses; an array
without them is shared by all models. Input is converted to the dtype of the parameters, and where
there are none integers become float32.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import rng
from gpunet.activations import *
from gpunet.arithmetic import unbroadcast
from gpunet.backend import Array, array_module
from gpunet.counters import CALL
from gpunet.counters import array as counters_at
from gpunet.embedding import *
from gpunet.gemm import product
from gpunet.inputs import as_dtype, as_input, floating, need_batch
from gpunet.kernel import BlockKernel
from gpunet.tape import Pair
from gpunet.tensor import op


def _per_row(vector: Array) -> Array:
    """A per-feature array (..., features) beside a batch: (..., 1, features)."""
    return vector if vector.ndim == 1 else vector[..., None, :]


def _sum_rows(g: Array, like: Array) -> Array:
    """Sum over the batch, and over the models too where `like` is shared by them."""
    return unbroadcast(g.sum(axis=-2), like)


@op
def affine(x: Array, W: Array, b: Array | None = None) -> Pair:
    """x @ W + b.

    Args:
        x: (..., batch, in); another dtype than W's is converted to it.
        W: (in, out), or (models, in, out) with one matrix per leading index.
        b: (out,) or (models, out), or None.

    Raises:
        ValueError: shapes that do not fit (the message holds both).
    """
    need_batch(x, "affine")
    if W.ndim < 2 or x.shape[-1] != W.shape[-2]:
        expected = f": {x.shape[-1]} features given, {W.shape[-2]} expected" if W.ndim > 1 else ""
        raise _misfit("affine: input", x, "W", W, expected)
    if b is not None and b.shape[-1:] != W.shape[-1:]:
        raise _misfit("affine: b", b, "W", W)
    x = as_input(x, W, "affine: input")
    try:
        y = product(x, W)
    except ValueError as error:  # leading axes that do not broadcast
        raise _misfit("affine: input", x, "W", W) from error
    if b is not None:
        y = _add_rows(y, b)

    def backward(gy: Array) -> Any:
        return (
            lambda: unbroadcast(product(gy, W.swapaxes(-1, -2)), x),
            lambda: unbroadcast(product(x.swapaxes(-1, -2), gy), W),
            lambda: _sum_rows(gy, b),
        )[: 2 if b is None else 3]

    return y, backward


def _misfit(what: str, a: Array, name: str, b: Array, more: str = "") -> ValueError:
    return ValueError(
        f"{what} of shape {tuple(a.shape)} does not fit {name} of shape {tuple(b.shape)}{more}"
    )


def _add_rows(y: Array, b: Array) -> Array:
    """y + b, in place unless there is one b per model, which may give y a leading axis."""
    rows = _per_row(b)
    try:
        if b.ndim > 1:
            return y + rows
        y += rows
    except ValueError as error:
        raise _misfit("affine: b", b, "the product", y) from error
    return y


@op
def rescale(x: Array, *, scale: float, dtype: Any = np.float32) -> Pair:
    """x * scale, in `dtype`: bytes become numbers from 0 to 1 with scale = 1 / 255."""
    factor = np.dtype(dtype).type(scale)
    return as_dtype(x, dtype, "rescale: input") * factor, lambda gy: gy * factor


@op
def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Pair:
    """Batch normalisation (Ioffe & Szegedy 2015, Algorithm 1) over axis -2.

    Args:
        x: (..., batch, features); another dtype than gamma's is converted to it.
        gamma, beta: (features,), or (models, features).
        running_mean, running_var: (features,), with a leading axis per model if x has one. In
            training they are updated in place, r = (1 - momentum) r + momentum * statistic, the
            variance unbiased (B / (B - 1)); without training they are what x is normalised with.
            None in training: nothing is kept.
        training: normalise by the batch's own mean and biased variance.

    Raises:
        ValueError: training on fewer than two rows (the variance of one is 0); shapes that do not
            fit; no running statistics in evaluation. Nothing is updated then.
    """
    need_batch(x, "batch_norm")
    for name, vector in (("gamma", gamma), ("beta", beta)):
        if vector.shape[-1:] != x.shape[-1:]:
            count = vector.shape[-1] if vector.ndim else "no"
            expected = f": {x.shape[-1]} features given, {count} expected"
            raise _misfit("batch_norm: input", x, name, vector, expected)
    x = as_input(x, gamma, "batch_norm: input")
    if training:
        return _by_batch(x, gamma, beta, running_mean, running_var, momentum, eps)
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm in evaluation needs running_mean and running_var")
    return _by_constants(x, gamma, beta, running_mean, running_var, eps)


def _by_batch(
    x: Array,
    gamma: Array,
    beta: Array,
    running_mean: Array | None,
    running_var: Array | None,
    momentum: float,
    eps: float,
) -> Pair:
    rows = x.shape[-2]
    if rows < 2:
        raise ValueError(
            f"batch_norm in training needs at least 2 rows, got {rows} (shape {tuple(x.shape)}); "
            "use a larger batch, drop the last short one, or call model.eval()"
        )
    mean = x.mean(axis=-2, keepdims=True)
    centred = x - mean
    var = (centred * centred).mean(axis=-2, keepdims=True)
    inv = 1 / array_module(x).sqrt(var + eps)
    normal = centred * inv
    y = _scale_and_shift(normal, gamma, beta)
    unbiased = var[..., 0, :] * (rows / (rows - 1))
    _keep(((running_mean, mean[..., 0, :]), (running_var, unbiased)), momentum)

    def backward(gy: Array) -> Any:
        # dx = gamma inv / B (B gy - sum(gy) - normal sum(gy normal)); docs/backward.md derives it
        sum_gy = gy.sum(axis=-2, keepdims=True)
        sum_gy_normal = (gy * normal).sum(axis=-2, keepdims=True)

        def dx() -> Array:
            scale = _per_row(gamma) * inv / rows
            return unbroadcast(scale * (rows * gy - sum_gy - normal * sum_gy_normal), x)

        return (
            dx,
            lambda: unbroadcast(sum_gy_normal[..., 0, :], gamma),
            lambda: unbroadcast(sum_gy[..., 0, :], beta),
        )

    return y, backward


def _by_constants(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Pair:
    """With constants for statistics the gradient is gamma / sqrt(var + eps), nothing more."""
    for running in (mean, var):
        _check_statistics(running, (*running.shape[:-1], x.shape[-1]))
    inv = _per_row(1 / array_module(x).sqrt(var + eps))
    normal = (x - _per_row(mean)) * inv

    def backward(gy: Array) -> Any:
        return (
            lambda: unbroadcast(gy * (_per_row(gamma) * inv), x),
            lambda: _sum_rows(gy * normal, gamma),
            lambda: _sum_rows(gy, beta),
        )

    return _scale_and_shift(normal, gamma, beta), backward


def _scale_and_shift(normal: Array, gamma: Array, beta: Array) -> Array:
    try:
        y = _per_row(gamma) * normal
    except ValueError as error:
        raise _misfit("batch_norm: input", normal, "gamma", gamma) from error
    try:
        return y + _per_row(beta)
    except ValueError as error:
        raise _misfit("batch_norm: input", normal, "beta", beta) from error


def _keep(statistics: tuple[tuple[Array | None, Array], ...], momentum: float) -> None:
    """running = (1 - momentum) running + momentum statistic, in place, of each that is kept."""
    kept = [(running, new) for running, new in statistics if running is not None]
    for running, new in kept:
        _check_statistics(running, new.shape)
    for running, new in kept:
        # Not running += momentum * (new - running), which loses a small one beside a large one.
        running[...] = (1 - momentum) * running + momentum * new


def _check_statistics(running: Array, shape: tuple[int, ...]) -> None:
    if running.shape != shape:
        raise ValueError(
            f"batch_norm keeps running statistics of shape {tuple(running.shape)}, but the batch "
            f"has statistics of shape {tuple(shape)}: one set for each model is needed"
        )


def _dropout_reference(
    x: Array, counters: Array, scale: float, seed: int, step: int, threshold: int, plane: int
) -> Array:
    kept = rng.kept(x.shape, threshold, seed, (step + int(counters[CALL])) % 2**64)
    return np.where(kept, x * x.dtype.type(scale), x.dtype.type(0))


DROPOUT = BlockKernel("nn/dropout", _dropout_reference)
PER_BLOCK = 4096  # elements of a block


def masked(
    x: Array, counters: Array, scale: float, seed: int, step: int, threshold: int, plane: int
) -> Array:
    """x * scale where the mask keeps it, the same for each `plane` elements, else 0."""
    if array_module(x) is np:
        return DROPOUT.reference(x, counters, scale, seed, step, threshold, plane)
    numbers = {"scale": scale, "seed": seed, "step": step, "threshold": threshold, "drops": None}
    return over_planes(x, plane, counters=counters, **numbers)


def over_planes(x: Array, plane: int, **arguments: Any) -> Array:
    """Dropout of x on a GPU, `plane` elements at a time; the rest as its kernel names it."""
    xp, models = array_module(x), x.size // plane
    wide = xp.ascontiguousarray(x.astype(np.promote_types(x.dtype, np.float32), copy=False))
    y = wide
    if models:
        y = xp.empty_like(wide)
        grid = (-(-plane // PER_BLOCK) * models,)
        DROPOUT.launch(xp, wide.dtype, grid, x=wide, y=y, plane=plane, **arguments)
    return y.astype(x.dtype, copy=False).reshape(x.shape)


@op
def dropout(
    x: Array, *, p: float = 0.5, seed: int = 0, step: int = 0, training: bool = True
) -> Pair:
    """Inverted dropout (Srivastava et al. 2014): x * mask / (1 - p) in training, x otherwise.

    The mask is Philox4x64-10 keyed by `seed` at `step`, the same bit for bit on CPU and GPU; it
    covers the last two axes and is shared by the leading ones. p is rounded to a multiple
    of 2^-16, but not to 1; p = 1 gives zeros.

    Raises:
        ValueError: p outside [0, 1]; seed or step not an integer in [0, 2^64).
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie in [0, 1], got {p}")
    for name, number in (("seed", seed), ("step", step)):
        rng.check_word(number, name)
    x = floating(x)
    if not training or p == 0:
        return x, lambda gy: gy
    plane = max(math.prod(x.shape[-2:]), 1)
    numbers = (rng.keep_scale(p), seed, step, rng.threshold(p), plane)
    counters = counters_at(array_module(x))
    return masked(x, counters, *numbers), lambda gy: masked(gy, counters, *numbers)


@op
def softmax(x: Array) -> Pair:
    """exp(x) / sum(exp(x)) over the last axis, without overflow."""
    x = floating(x)
    y = array_module(x).exp(_log_softmax(x))
    return y, lambda gy: y * (gy - (gy * y).sum(axis=-1, keepdims=True))


@op
def log_softmax(x: Array) -> Pair:
    """log(softmax(x)) over the last axis, without overflow."""
    x = floating(x)
    y = _log_softmax(x)
    return y, lambda gy: gy - array_module(x).exp(y) * gy.sum(axis=-1, keepdims=True)


SHORT = 32  # numbers of a row


def _largest(x: Array) -> Array:
    """Of each row, (..., 1). NumPy is slow along short rows, and quick across them."""
    if array_module(x) is np and x.shape[-1] <= SHORT:
        return np.maximum.reduce(x.T.copy(), axis=0).T[..., None]
    return x.max(axis=-1, keepdims=True)


def _log_softmax(x: Array) -> Array:
    shifted = x - _largest(x)
    return shifted - array_module(x).log(array_module(x).exp(shifted).sum(axis=-1, keepdims=True))

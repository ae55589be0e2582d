"""The losses as ops: logits or predictions (..., batch, features) to one number per model.

For a batch without leading axes that is a scalar, shape (). Integer predictions become float32.
Targets get no gradient: one that needs it makes backward raise RuntimeError; detach it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, device_of, to_device, to_host
from gpunet.functional import Pair, floating, log_softmax, need_batch
from gpunet.layer import Layer
from gpunet.tensor import Tensor, as_array, op


def _need_rows(x: Array, name: str) -> None:
    if 0 in x.shape:
        raise ValueError(f"{name}: an empty batch, shape {tuple(x.shape)}, has no mean loss")


def _same_shape(x: Array, t: Array, name: str) -> None:
    if x.shape != t.shape:
        raise ValueError(
            f"{name}: predictions of shape {tuple(x.shape)} and targets of shape "
            f"{tuple(t.shape)} do not fit"
        )


def _per_model(loss: Array) -> Array:
    """(models, 1, 1) from a sum with keepdims, as the gradient of each model's loss wants it."""
    return loss[..., None, None]


@op
def softmax_cross_entropy(
    z: Array, t: Array, *, label_smoothing: float = 0.0, class_weights: Array | None = None
) -> Pair:
    """Mean over the batch of -sum_k q_k log softmax(z)_k.

    Args:
        z: logits (..., batch, classes).
        t: integer labels (..., batch), told by the missing axis, or probabilities (one-hot or
            soft) of z's shape.
        label_smoothing: e in q' = (1 - e) q + e / classes (Szegedy et al. 2016).
        class_weights: (classes,). The mean is then weighted: with labels it divides by the sum
            of the targets' weights, with probabilities by the batch size (both as PyTorch).

    Raises:
        ValueError: shapes that do not fit, an empty batch, a label out of range (on a GPU, which
            cannot raise without waiting, the loss is nan instead).
        TypeError: labels that are not integers.
    """
    need_batch(z, "softmax_cross_entropy")
    _need_rows(z, "softmax_cross_entropy")
    check_smoothing(label_smoothing)
    z = floating(z)
    labels = t.ndim == z.ndim - 1
    q = _one_hot(z, t) if labels else t.astype(z.dtype, copy=False)
    _same_shape(z, q, "softmax_cross_entropy")
    rows = z.shape[-2]
    total: Any = rows
    weight: Any = None
    if class_weights is not None:
        weight = _class_weights(z, class_weights)
        total = _per_model((q * weight).sum(axis=(-1, -2))) if labels else rows
    if label_smoothing:
        q = (1 - label_smoothing) * q + label_smoothing / z.shape[-1]
    share = (q if weight is None else q * weight) / total
    logp, _ = log_softmax.pair(z)

    def backward(g: Array) -> Array:
        softmax = array_module(z).exp(logp)
        return _per_model(g) * (softmax * share.sum(axis=-1, keepdims=True) - share)

    return -(share * logp).sum(axis=(-1, -2)), backward


def check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")


def _one_hot(z: Array, t: Array) -> Array:
    """Labels as probabilities of z's shape and dtype; a bad label is a row of nan on a GPU."""
    name = "softmax_cross_entropy"
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: labels must be integers, got {t.dtype}; use labels.astype(int), or give "
            f"probabilities of shape {tuple(z.shape)}"
        )
    if t.shape != z.shape[:-1]:
        raise ValueError(
            f"{name}: logits of shape {tuple(z.shape)} need labels of shape "
            f"{tuple(z.shape[:-1])}, got {tuple(t.shape)}"
        )
    xp, classes = array_module(z), z.shape[-1]
    q: Array = (t[..., None] == xp.arange(classes)).astype(z.dtype)
    if xp is not np:
        return q / q.sum(axis=-1, keepdims=True)
    if t.min() < 0 or t.max() >= classes:
        where = tuple(int(k) for k in np.argwhere((t < 0) | (t >= classes))[0])
        raise ValueError(
            f"{name}: label {int(t[where])} at index {', '.join(map(str, where))} is out of "
            f"range; {classes} classes allow 0 to {classes - 1}"
        )
    return q


def _class_weights(z: Array, class_weights: Any) -> Array:
    weight = class_weights
    if array_module(weight) is None:
        weight = array_module(z).asarray(weight)
    if tuple(weight.shape) != (z.shape[-1],):
        raise ValueError(
            f"class_weights must have shape ({z.shape[-1]},), got {tuple(weight.shape)}"
        )
    return weight.astype(z.dtype, copy=False)


@op
def mean_squared_error(y: Array, t: Array, *, reduction: str = "mean") -> Pair:
    """Squared error of predictions and targets of one shape.

    reduction "mean": the mean over all elements of a model, gradient 2 (y - t) / N (PyTorch).
    "half_sum": half the sum, gradient y - t (the "from scratch" book).

    ValueError for another reduction, shapes that differ, or an empty batch.
    """
    check_reduction(reduction)
    y = floating(y)
    _same_shape(y, t, "mean_squared_error")
    _need_rows(y, "mean_squared_error")
    axes = tuple(range(max(y.ndim - 2, 0), y.ndim))
    count = 1
    for axis in axes:
        count *= y.shape[axis]
    scale = 0.5 if reduction == "half_sum" else 1 / count
    off = y - t.astype(y.dtype, copy=False)

    def backward(g: Array) -> Array:
        return (2 * scale) * off * g.reshape(g.shape + (1,) * len(axes))

    return (off * off).sum(axis=axes) * scale, backward


def check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "half_sum"):
        raise ValueError(f'reduction must be "mean" or "half_sum", got {reduction!r}')


@op
def kl_divergence(z: Array, q: Array) -> Pair:
    """KL(q || softmax(z)), summed over classes, mean over the batch; 0 log 0 = 0.

    Args:
        z: logits (..., batch, classes).
        q: probabilities of the same shape.

    Raises:
        ValueError: shapes that do not fit, an empty batch, a negative probability (on a GPU the
            loss is nan instead).
    """
    need_batch(z, "kl_divergence")
    _same_shape(z, q, "kl_divergence")
    _need_rows(z, "kl_divergence")
    z = floating(z)
    xp, rows = array_module(z), z.shape[-2]
    if xp is np and q.min() < 0:
        raise ValueError(f"kl_divergence: probabilities must be at least 0, got {q.min()}")
    q = q.astype(z.dtype, copy=False)
    logp, _ = log_softmax.pair(z)
    log_q = xp.log(xp.where(q == 0, xp.ones((), z.dtype), q))

    def backward(g: Array) -> Array:
        return _per_model(g) * (xp.exp(logp) * q.sum(axis=-1, keepdims=True) - q) / rows

    return (q * (log_q - logp)).sum(axis=(-1, -2)) / rows, backward


@op
def sigmoid_cross_entropy(z: Array, t: Array) -> Pair:
    """Mean of -t log s - (1 - t) log(1 - s) with s = sigmoid(z), computed without overflow.

    Args:
        z: logits, any shape; (batch, 1) may meet targets (batch,).
        t: targets in [0, 1] of the same shape: 0 and 1 (bool, integer or float) or probabilities.

    Raises:
        ValueError: shapes that do not fit, an empty batch, a target outside [0, 1] (on a GPU, which
            cannot raise without waiting, nothing is said).
    """
    if z.ndim == t.ndim + 1 and z.shape[-1] == 1:
        t = t[..., None]
    _same_shape(z, t, "sigmoid_cross_entropy")
    _need_rows(z, "sigmoid_cross_entropy")
    z = floating(z)
    xp = array_module(z)
    if xp is np and (t.min() < 0 or t.max() > 1):
        raise ValueError(
            f"sigmoid_cross_entropy: targets must lie in [0, 1], got {t.min()} to {t.max()}"
        )
    t = t.astype(z.dtype, copy=False)
    axes = tuple(range(max(z.ndim - 2, 0), z.ndim))
    small = xp.exp(-abs(z))
    loss = xp.maximum(z, 0) - z * t + xp.log1p(small)

    def backward(g: Array) -> Array:
        probability = xp.where(z >= 0, xp.ones((), z.dtype), small) / (1 + small)
        count = loss.size // max(g.size, 1)
        return (probability - t) * (g.reshape(g.shape + (1,) * len(axes)) / count)

    return loss.mean(axis=axes), backward


# The same as layers: called with (prediction, target), with their settings


class SoftmaxWithLoss(Layer):
    """Softmax and cross-entropy in one; see `softmax_cross_entropy`.

    class_weights may lie anywhere: they are brought to the logits' device and dtype once.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        check_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else _weights(class_weights)
        self._placed: tuple[Any, Array] = (None, np.zeros(0))

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return softmax_cross_entropy(
            z, t, label_smoothing=self.label_smoothing, class_weights=self._beside(z)
        )

    def _beside(self, z: Tensor) -> Array | None:
        weights = self.class_weights
        if weights is None:
            return None
        dtype = z.dtype if z.dtype.kind == "f" else np.float32
        source, placed = self._placed
        if source is not weights or placed.dtype != dtype or device_of(placed) != z.device:
            placed = to_device(weights.astype(dtype), z.device)
            self._placed = weights, placed
        return placed


def _weights(class_weights: Any) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = to_host(as_array(class_weights)).astype(np.float64)
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(
            f"class_weights must be a row of finite numbers from 0, got {class_weights!r}"
        )
    return found


class MeanSquaredError(Layer):
    """Squared error; see `mean_squared_error`."""

    def __init__(self, reduction: str = "mean") -> None:
        check_reduction(reduction)
        self.reduction = reduction

    def call(self, y: Tensor, t: Tensor) -> Tensor:
        return mean_squared_error(y, t, reduction=self.reduction)


class KLDivergence(Layer):
    """KL(t || softmax(z)); see `kl_divergence`."""

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return kl_divergence(z, t)


class SigmoidWithLoss(Layer):
    """Sigmoid and binary cross-entropy in one; see `sigmoid_cross_entropy`."""

    def call(self, z: Tensor, t: Tensor) -> Tensor:
        return sigmoid_cross_entropy(z, t)

"""The losses as ops: logits or predictions (..., batch, features) to one number per model.

For a batch without leading axes that is a scalar, shape (). Integer predictions become float32.
Targets get no gradient: one that needs it makes backward raise RuntimeError; detach it.

Each takes `weight`, (batch,) or with the leading axes: what each row counts. The mean over rows
becomes sum(w l) / sum(w): a weight of 2 is the row twice, 0 the row left out, and if all are 0 the
loss is 0. Weights must be finite and from 0, else ValueError (on a GPU, which cannot raise without
waiting, the loss is nan instead).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import checked, weights, where
from gpunet.backend import Array, array_module
from gpunet.functional import log_softmax
from gpunet.inputs import as_dtype, floating, need_batch
from gpunet.tape import Pair
from gpunet.tensor import op

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def _need_rows(x: Array, name: str) -> None:
    if 0 in x.shape:
        raise ValueError(f"{name}: an empty batch, shape {tuple(x.shape)}, has no mean loss")


def _same_shape(x: Array, t: Array, name: str) -> None:
    if x.shape != t.shape:
        raise ValueError(
            f"{name}: predictions of shape {tuple(x.shape)} and targets of shape "
            f"{tuple(t.shape)} do not fit"
        )


def labels(
    t: Array, shape: tuple[int, ...], classes: int, *, first: int = 0, wait: bool = False
) -> Array:
    """Class labels as int64, one for each row.

    Args:
        t: integers of any width and byte order.
        shape: of the rows, (..., batch).
        classes: a label is one of 0 to classes - 1.
        first: what to call the first row in a message.
        wait: look at the values on a GPU too. Without it a label that is out of range there stays
            so, and whoever uses it makes a nan of it.

    Raises:
        TypeError: no integers.
        ValueError: another shape, or a label out of range.
    """
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, got {t.dtype}; use labels.astype(int), or give "
            f"probabilities of shape {(*shape, classes)}"
        )
    if t.shape != shape:
        raise ValueError(
            f"outputs of shape {(*shape, classes)} need labels of shape {shape}, got {t.shape}"
        )
    found = t if t.dtype == INT64 else t.astype(INT64)
    if (wait or isinstance(found, np.ndarray)) and found.size:
        unsigned = found.view(UINT64)  # where negative ones are the largest
        if unsigned.flat[int(unsigned.argmax())] >= classes:  # max() takes twice the time
            outputs = "1 output" if classes == 1 else f"{classes} outputs"
            why = f"the model has {outputs}, labels run from 0 to {classes - 1}"
            refuse(t, unsigned >= classes, "label", why, first)
    return found


def refuse(t: Array, bad: Array, what: str, why: str, first: int = 0) -> None:
    """ValueError that names the first `bad` one of the targets t, if there is one.

    first: the number of t's first row. Waits for a GPU.
    """
    place = where.first(bad)
    if place is not None:
        at = where.words((first + place[0], *place[1:]))
        value = t[place].item()
        number = f"{value:g}" if isinstance(value, float) else value
        raise ValueError(f"{what} {number} in {at} is out of range: {why}")


ROUNDING = 1e-3  # by which probabilities may miss a sum of 1: many of them, in float16


def check_probabilities(t: Array, first: int = 0, name: str = "") -> None:
    """ValueError that names the first row, from row `first` on, that is no distribution: a negative
    number, or a sum other than 1. Waits for a GPU.
    """
    refuse(t, t < 0, f"{name}probability", "probabilities must be at least 0", first)
    total = t.sum(axis=-1, dtype=np.float64)
    why = "those of a row add up to 1; for several classes a row take SigmoidWithLoss"
    refuse(total, abs(total - 1) > ROUNDING, f"{name}the sum of probabilities", why, first)


def _probabilities(t: Array, z: Array, name: str) -> Array:
    """Targets of z's shape, in its dtype. ValueError for a row that is no distribution; on a GPU it
    becomes a nan.
    """
    _same_shape(z, t, name)
    t = as_dtype(t, z.dtype, f"{name}: targets")
    xp = array_module(t)
    if xp is np:
        check_probabilities(t, name=f"{name}: ")
        return t
    good = (t.min(axis=-1) >= 0) & (abs(t.sum(axis=-1) - 1) <= ROUNDING)
    return xp.where(good[..., None], t, t.dtype.type(np.nan))


def need_classes(classes: int) -> None:
    """ValueError for one."""
    if classes == 1:
        raise ValueError(
            "a softmax over one output is 1 whatever the model does; for two classes take "
            "SigmoidWithLoss, or a model of two outputs"
        )


def or_1(total: Any) -> Any:
    """A sum to divide by: 1 for 0, where what is divided is 0 too."""
    return total + (total == 0)


def _per_model(loss: Array) -> Array:
    """(models, 1, 1) from a sum with keepdims, as the gradient of each model's loss wants it."""
    return loss[..., None, None]


@op
def softmax_cross_entropy(
    z: Array,
    t: Array,
    *,
    label_smoothing: float = 0.0,
    class_weights: Array | None = None,
    weight: Array | None = None,
) -> Pair:
    """Mean over the batch of -sum_k q_k log softmax(z)_k.

    Args:
        z: logits (..., batch, classes).
        t: integer labels (..., batch), known by the missing axis, or probabilities (one-hot or
            soft) of z's shape.
        label_smoothing: e in q' = (1 - e) q + e / classes (Szegedy et al. 2016).
        class_weights: (classes,). The mean is then weighted: with labels it divides by the sum
            of the targets' weights, with probabilities by the batch size (both as PyTorch).
        weight: of the rows; it multiplies with those of the classes.

    Raises:
        ValueError: shapes that do not fit, one class, an empty batch; a label out of range, or a
            row of probabilities with a negative one or another sum than 1 (on a GPU, which cannot
            raise without waiting, the loss is nan instead).
        TypeError: labels that are not integers.
    """
    need_batch(z, "softmax_cross_entropy")
    _need_rows(z, "softmax_cross_entropy")
    need_classes(z.shape[-1])
    checked.below_one(label_smoothing, "label_smoothing")
    z = floating(z)
    by_label = t.ndim == z.ndim - 1
    q = _one_hot(z, t) if by_label else _probabilities(t, z, "softmax_cross_entropy")
    each = _factor(weight, z, "softmax_cross_entropy")
    counts: Any = each
    total: Any = z.shape[-2]
    if class_weights is not None:
        of_class = _class_weights(z, class_weights)
        counts = of_class if each is None else each * of_class
        total = _per_model(or_1((q * counts).sum(axis=(-1, -2)))) if by_label else total
    if label_smoothing:
        q = (1 - label_smoothing) * q + label_smoothing / z.shape[-1]
    share = (q if counts is None else q * counts) / total
    logp, _ = log_softmax.pair(weights.counted(z, each))

    def backward(g: Array) -> Array:
        softmax = array_module(z).exp(logp)
        return _per_model(g) * (softmax * share.sum(axis=-1, keepdims=True) - share)

    return _times(share, -logp).sum(axis=(-1, -2)), backward


def _factor(weight: Any, x: Array, name: str, *, relative: bool = True) -> Array | None:
    """`weights.of_batch`; None without weights."""
    return None if weight is None else weights.of_batch(weight, x, name, relative=relative)


def _times(weight: Array, value: Array) -> Array:
    """weight * value, and 0 where weight is 0: also beside an infinity, as of a masked logit."""
    return weight * array_module(weight).where(weight == 0, value.dtype.type(0), value)


def _one_hot(z: Array, t: Array) -> Array:
    """Labels as probabilities of z's shape and dtype; a bad label is a row of nan on a GPU."""
    xp, classes = array_module(z), z.shape[-1]
    t = labels(t, z.shape[:-1], classes)
    q: Array = (t[..., None] == xp.arange(classes)).astype(z.dtype)
    return q if xp is np else q / q.sum(axis=-1, keepdims=True)


def _class_weights(z: Array, class_weights: Any) -> Array:
    weight = class_weights
    if array_module(weight) is None:
        weight = array_module(z).asarray(weight)
    if tuple(weight.shape) != (z.shape[-1],):
        raise ValueError(
            f"class_weights must have shape ({z.shape[-1]},), got {tuple(weight.shape)}"
        )
    return weight.astype(z.dtype, copy=False)


check_reduction = checked.one_of("mean", "half_sum")


@op
def mean_squared_error(
    y: Array, t: Array, *, reduction: str = "mean", weight: Array | None = None
) -> Pair:
    """Squared error of predictions and targets of one shape.

    reduction "mean": the mean over all elements of a model, gradient 2 (y - t) / N (PyTorch).
    "half_sum": half the sum, gradient y - t (the "from scratch" book); weighted, half of the sum
    of w (y - t)^2.

    ValueError for another reduction, shapes that differ, or an empty batch.
    """
    check_reduction(reduction, "reduction")
    sums = reduction == "half_sum"
    off, axes, each = _differences(y, t, weight, "mean_squared_error", relative=not sums)
    scale = 0.5 if sums else 1 / math.prod(off.shape[k] for k in axes)
    pull = off if each is None else off * each

    def backward(g: Array) -> Array:
        return (2 * scale) * pull * _per_element(g, axes)

    return (pull * off).sum(axis=axes) * scale, backward


@op
def mean_absolute_error(y: Array, t: Array, *, weight: Array | None = None) -> Pair:
    """Mean of |y - t| over all elements of a model, the L1 loss; gradient sign(y - t) / N, 0 where
    y = t.

    ValueError for shapes that differ, or an empty batch.
    """
    off, axes, each = _differences(y, t, weight, "mean_absolute_error")

    def backward(g: Array) -> Array:
        return array_module(off).sign(off) * _mean_backward(g, off, axes, each)

    return _mean(abs(off), axes, each), backward


@op
def huber(y: Array, t: Array, *, delta: float = 1.0, weight: Array | None = None) -> Pair:
    """Squared error near 0, absolute error beyond delta (Huber 1964, section 4): with d = y - t the
    mean over a model's elements of d^2 / 2 where |d| <= delta, else of delta (|d| - delta / 2).

    Args:
        delta: above 0, and no error pulls harder. If no |d| is larger, the loss is half of
            `mean_squared_error`.

    ValueError for another delta, shapes that differ, or an empty batch.
    """
    delta = checked.positive(delta, "delta")
    off, axes, each = _differences(y, t, weight, "huber")
    xp = array_module(off)
    size = abs(off)
    near = xp.minimum(size, delta)

    def backward(g: Array) -> Array:
        return xp.clip(off, -delta, delta) * _mean_backward(g, off, axes, each)

    return _mean(near * (size - near / 2), axes, each), backward


def _differences(
    y: Array, t: Array, weight: Any, name: str, *, relative: bool = True
) -> tuple[Array, tuple[int, ...], Array | None]:
    """y - t; the axes of one model: the last two, or as many as there are; what rows count."""
    y = floating(y)
    _same_shape(y, t, name)
    _need_rows(y, name)
    each = _factor(weight, y, name, relative=relative)
    off = y - as_dtype(t, y.dtype, f"{name}: targets")
    return weights.counted(off, each), _own_axes(y), each


def _own_axes(y: Array) -> tuple[int, ...]:
    return tuple(range(max(y.ndim - 2, 0), y.ndim))


def _per_element(g: Array, axes: tuple[int, ...]) -> Array:
    """A model's gradient beside its elements."""
    return g.reshape(g.shape + (1,) * len(axes))


def _mean(x: Array, axes: tuple[int, ...], each: Array | None) -> Array:
    """The mean over `axes`, in which rows count `each`."""
    return (x if each is None else x * each).mean(axis=axes)


def _mean_backward(g: Array, x: Array, axes: tuple[int, ...], each: Array | None) -> Array:
    """What each element of x gets of the gradient of such a mean."""
    gx = _per_element(g, axes) / (x.size // max(g.size, 1))
    return gx if each is None else gx * each


@op
def kl_divergence(z: Array, q: Array, *, weight: Array | None = None) -> Pair:
    """KL(q || softmax(z)), summed over classes, mean over the batch; 0 log 0 = 0.

    Args:
        z: logits (..., batch, classes).
        q: probabilities of the same shape.

    Raises:
        ValueError: shapes that do not fit, one class, an empty batch, a row with a negative
            probability or another sum than 1 (on a GPU the loss is nan instead).
    """
    need_batch(z, "kl_divergence")
    _need_rows(z, "kl_divergence")
    need_classes(z.shape[-1])
    z = floating(z)
    q = _probabilities(q, z, "kl_divergence")
    xp, rows = array_module(z), z.shape[-2]
    each = _factor(weight, z, "kl_divergence")
    logp, _ = log_softmax.pair(weights.counted(z, each))
    log_q = xp.log(xp.where(q == 0, xp.ones((), z.dtype), q))
    share = q if each is None else q * each

    def backward(g: Array) -> Array:
        return _per_model(g) * (xp.exp(logp) * share.sum(axis=-1, keepdims=True) - share) / rows

    return _times(share, log_q - logp).sum(axis=(-1, -2)) / rows, backward


@op
def sigmoid_cross_entropy(z: Array, t: Array, *, weight: Array | None = None) -> Pair:
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
    t = as_dtype(t, z.dtype, "sigmoid_cross_entropy: targets")
    if xp is np and (t.min() < 0 or t.max() > 1):
        raise ValueError(
            f"sigmoid_cross_entropy: targets must lie in [0, 1], got {t.min()} to {t.max()}"
        )
    axes, each = _own_axes(z), _factor(weight, z, "sigmoid_cross_entropy")
    z = weights.counted(z, each)
    small = xp.exp(-abs(z))
    loss = _times(xp.where(z > 0, 1 - t, -t), z) + xp.log1p(small)

    def backward(g: Array) -> Array:
        probability = xp.where(z >= 0, xp.ones((), z.dtype), small) / (1 + small)
        return (probability - t) * _mean_backward(g, loss, axes, each)

    return _mean(loss, axes, each), backward

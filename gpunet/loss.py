"""The losses as layers, called with (prediction, target); what a training asks of them besides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from gpunet import checked
from gpunet.backend import Array, device_of, to_device, to_host
from gpunet.checked import Checked
from gpunet.layer import Layer
from gpunet.losses import (
    check_probabilities,
    check_reduction,
    huber,
    kl_divergence,
    labels,
    mean_absolute_error,
    mean_squared_error,
    need_classes,
    or_1,
    refuse,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from gpunet.tensor import Op, Tensor, as_array


class Loss(Layer):
    """A layer of a prediction and a target: one number for a batch, its mean loss.

    `loss(z, t, weight=w)` is the mean in which row k counts w[k]; see `gpunet.losses`.

    A loss of your own may be a plain function of two Tensors (`gpunet.loss.as_loss` makes a Loss
    of it), or a subclass with `call(self, z, t)` that overrides what it knows better. It takes
    weights of rows if it has a third parameter, `weight=None`.
    """

    def __call__(self, z: Any, t: Any, weight: Any = None) -> Tensor:
        """TypeError for weights that `call` does not take."""
        if weight is None:
            return super().__call__(z, t)
        _need_weight(self.call, f"{type(self).__name__}.call(self, z, t")
        return super().__call__(z, t, weight)

    @property
    def sums(self) -> bool:
        """Whether it adds its rows up instead of taking their mean."""
        return False

    def hits(self, z: Array, t: Array, weight: Array | None = None) -> Array | None:
        """How many predictions are right, as an array of shape () on their device (of several
        models, which z and t have a leading axis of, one for each), where a row counts its weight;
        None where that means nothing.
        """
        return None

    def check(self, z: Array, t: Array, first: int = 0) -> None:
        """Look at targets before a training begins.

        Args:
            z: an output of the model, for its shape.
            t: rows of targets, of which the first is row `first` of the data. On a GPU this waits.

        ValueError for what is no target, naming its row; whatever `call` would make of it.
        """

    def check_scale(self, blocks: Iterable[Array]) -> None:
        """Look at the size of all training targets, some rows at a time. On a GPU this waits.

        ValueError where no network would reach them.
        """

    @property
    def weighted(self) -> bool:
        """Whether `weight` looks at the targets."""
        return False

    def weight(self, t: Array, weight: Array | None = None) -> Any:
        """What a batch counts in a mean over several: how many rows it has, or a number on the
        device by which its own mean was divided.

        weight: of its rows, where they have any.
        """
        return len(t) if weight is None else weight.sum()

    def shares(self, weights: Sequence[Any]) -> list[Any]:
        """What the gradients of batches of these weights are multiplied with to add up to those of
        one large batch; None for 1.
        """
        if self.sums or len(weights) == 1:
            return [None] * len(weights)
        total = or_1(sum(weights[1:], weights[0]))
        return [weight / total for weight in weights]

    def mean(self, values: Array, weights: Array) -> float:
        """The loss over several batches from that of each. On a GPU this waits."""
        total = values.sum() if self.sums else (values * weights).sum()
        return float(total / or_1(weights.sum()))


def _need_weight(function: Callable[..., Any], shown: str) -> None:
    """TypeError unless its third parameter is `weight`."""
    try:
        parameters = signature(function).parameters
    except ValueError:  # one without a signature, such as a builtin
        return
    if "weight" not in parameters:
        raise TypeError(
            f"the loss takes no weights of rows; write {shown}, weight=None), whose mean is "
            "sum(weight * loss) / sum(weight)"
        )


def _weights(class_weights: Any, name: str) -> tuple[float, ...] | None:
    """Class weights as a setting: numbers that nobody changes in place."""
    if class_weights is None:
        return None
    if isinstance(class_weights, Mapping):
        count = len(class_weights)
        if set(class_weights) != set(range(count)):
            raise ValueError(
                f"{name} as a dict needs a weight for each class 0 to K-1, got {class_weights!r}"
            )
        class_weights = [class_weights[k] for k in range(count)]
    found = to_host(as_array(class_weights)).astype(np.float64)
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"{name} must be a row of finite numbers from 0, got {class_weights!r}")
    return tuple(map(float, found))


class SoftmaxWithLoss(Loss):
    """Softmax and cross-entropy in one; see `softmax_cross_entropy`.

    class_weights: a row of numbers, or a dict {class: weight} of all classes. They may lie
    anywhere: they are kept as a tuple, and brought to the logits' device and dtype once.
    """

    label_smoothing = Checked(checked.below_one)
    class_weights = Checked(_weights)

    def __init__(self, label_smoothing: float = 0.0, class_weights: Any = None) -> None:
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self._placed: dict[Any, Array] = {}

    def call(self, z: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return softmax_cross_entropy(
            z,
            t,
            label_smoothing=self.label_smoothing,
            class_weights=self._beside(z),
            weight=weight,
        )

    def _beside(self, z: Tensor) -> Array | None:
        if self.class_weights is None:
            return None
        return self._on(z.device, z.dtype if z.dtype.kind == "f" else np.dtype(np.float32))

    def _on(self, device: str, dtype: Any) -> Array:
        """The weights of the classes there; kept, for a graph takes nothing from the host."""
        key = self.class_weights, np.dtype(dtype), device
        if key not in self._placed:
            now = {k: a for k, a in self._placed.items() if k[0] == self.class_weights}
            self._placed = {**now, key: to_device(np.array(self.class_weights, dtype), device)}
        return self._placed[key]

    def hits(self, z: Array, t: Array, weight: Array | None = None) -> Array:
        return _of_the_largest(z, t, weight)

    def check(self, z: Array, t: Array, first: int = 0) -> None:
        _check_classes(z, t, first)

    @property
    def weighted(self) -> bool:
        return self.class_weights is not None

    def weight(self, t: Array, weight: Array | None = None) -> Any:
        if self.class_weights is None or t.ndim > 1:  # see softmax_cross_entropy
            return super().weight(t, weight)
        of_class = self._on(device_of(t), np.float64)[t]
        return (of_class if weight is None else of_class * weight).sum()


MOST, LEAST = 1e3, 1e-3


class Regression(Loss):
    """A loss of numbers as targets."""

    def check_scale(self, blocks: Iterable[Array]) -> None:
        """Targets far larger than 1, or nearly alike, are refused: a network starts near 0 with a
        spread near 1, and moves by about the learning rate a step.
        """
        parts = [_moments(block.reshape(len(block), -1)) for block in blocks]
        count = sum(n for n, *_ in parts)
        total, squares = (sum(part[k] for part in parts) for k in (1, 2))
        low = np.min([part[3] for part in parts], axis=0)
        high = np.max([part[4] for part in parts], axis=0)
        mean: Any = total / count
        spread: Any = np.sqrt(np.maximum(squares / count - mean**2, 0))
        bad = (np.hypot(mean, spread) > MOST) | ((spread < LEAST) & (low < high))
        if bad.any():
            k = int(bad.argmax())
            raise ValueError(
                f"targets of output {k} have the mean {mean[k]:.4g} and the spread "
                f"{spread[k]:.4g}, which no network of these layers learns; train on "
                "(t - mean) / spread, and scale what it predicts back, as `gpunet train` does"
            )


def _moments(block: Array) -> tuple[int, Any, Any, Any, Any]:
    """Of each column: rows, sum, sum of squares, least and largest, on the host."""
    wide = block.astype(np.float64)
    found = (wide.sum(axis=0), (wide * wide).sum(axis=0), wide.min(axis=0), wide.max(axis=0))
    return (len(block), *map(to_host, found))  # type: ignore[return-value]


class MeanSquaredError(Regression):
    """Squared error; see `mean_squared_error`."""

    reduction = Checked(check_reduction)

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction

    def call(self, y: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return mean_squared_error(y, t, reduction=self.reduction, weight=weight)

    @property
    def sums(self) -> bool:
        return bool(self.reduction == "half_sum")


class MeanAbsoluteError(Regression):
    """Absolute error, the L1 loss; see `mean_absolute_error`."""

    def call(self, y: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return mean_absolute_error(y, t, weight=weight)


class Huber(Regression):
    """Squared error near 0, absolute error beyond delta; see `huber`."""

    delta = Checked(checked.positive)

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def call(self, y: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return huber(y, t, delta=self.delta, weight=weight)


class KLDivergence(Loss):
    """KL(t || softmax(z)); see `kl_divergence`."""

    def call(self, z: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return kl_divergence(z, t, weight=weight)

    def hits(self, z: Array, t: Array, weight: Array | None = None) -> Array:
        return _of_the_largest(z, t, weight)

    def check(self, z: Array, t: Array, first: int = 0) -> None:
        _check_classes(z, t, first)


class SigmoidWithLoss(Loss):
    """Sigmoid and binary cross-entropy in one; see `sigmoid_cross_entropy`."""

    def call(self, z: Tensor, t: Tensor, weight: Tensor | None = None) -> Tensor:
        return sigmoid_cross_entropy(z, t, weight=weight)

    def hits(self, z: Array, t: Array, weight: Array | None = None) -> Array:
        """A row with several outputs counts by the share that is right."""
        outputs = z if z.ndim > 1 else z[:, None]
        right: Array = (outputs > 0) == (t.reshape(outputs.shape) > 0.5)
        if weight is None:
            return right.sum(axis=(-2, -1)) / outputs.shape[-1]
        return (right.mean(axis=-1) * weight).sum(axis=-1)

    def check(self, z: Array, t: Array, first: int = 0) -> None:
        refuse(t, (t < 0) | (t > 1), "target", "a binary loss, targets run from 0 to 1", first)


class FunctionLoss(Loss):
    """A loss of your own around a function of (prediction, target)."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, z: Any, t: Any, weight: Any = None) -> Tensor:
        if weight is None:
            return self.function(z, t)
        _need_weight(self.function, f"{getattr(self.function, '__name__', 'loss')}(z, t")
        return self.function(z, t, weight=weight)

    def hits(self, z: Array, t: Array, weight: Array | None = None) -> Array | None:
        """Of labels: integers with an axis less than the prediction."""
        by_label = t.ndim == z.ndim - 1 and t.dtype.kind in "iu" and z.shape[-1] > 1
        return _of_the_largest(z, t, weight) if by_label else None


def as_loss(loss: Callable[[Any, Any], Tensor]) -> Loss:
    """`loss` as a Loss: it itself, the layer of an op of this module, or one around a function.

    TypeError for what cannot be called, or is a class of losses.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}; write {loss.__name__}()")
    found = next((kind for op, kind in OPS.items() if loss is op), None)
    if found is not None:
        return found()
    if not callable(loss):
        raise TypeError(f"loss must be a function of (prediction, target), got {loss!r}")
    return FunctionLoss(loss)


OPS: dict[Op, type[Loss]] = {
    softmax_cross_entropy: SoftmaxWithLoss,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    huber: Huber,
    kl_divergence: KLDivergence,
    sigmoid_cross_entropy: SigmoidWithLoss,
}


def _of_the_largest(z: Array, t: Array, weight: Array | None) -> Array:
    """How many rows have their largest output at their label, or at the likeliest class."""
    t = t if t.ndim == z.ndim - 1 else t.argmax(axis=-1)
    right = z.argmax(axis=-1) == t
    return (right if weight is None else right * weight).sum(axis=-1)


def _check_classes(z: Array, t: Array, first: int) -> None:
    """`Loss.check` of the losses with a softmax."""
    classes = z.shape[-1]
    need_classes(classes)
    if t.ndim == z.ndim - 1:
        labels(t, t.shape, classes, first=first, wait=True)
    elif t.shape[1:] == z.shape[1:]:  # else `call` tells
        check_probabilities(t, first)

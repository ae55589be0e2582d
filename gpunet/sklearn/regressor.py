"""MLPRegressor: a network under a regression loss, its targets scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from gpunet import metrics
from gpunet.backend import Array, array_module, device_of, to_device, to_host
from gpunet.loss import Huber, Loss, MeanAbsoluteError, MeanSquaredError
from gpunet.losses import or_1
from gpunet.sklearn.base import MLPEstimator
from gpunet.sklearn.inputs import checked_weight, checked_xy, counted, on_gpu

LOSSES: dict[str, type[Loss]] = {
    "squared_error": MeanSquaredError,
    "absolute_error": MeanAbsoluteError,
    "huber": Huber,
}


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, MLPEstimator):
    """A regressor: a multi-layer perceptron trained by gpunet.

    Args:
        hidden_layer_sizes, activation, ...: see `MLPEstimator`.
        loss: "squared_error", "absolute_error", "huber", or a `gpunet.Loss` of numbers.
        scale_targets: train on (y - mean) / deviation, each output by its own, so that targets of
            any size are learnt alike; losses are those of scaled targets. A series of
            `partial_fit` keeps the scale of its first call.

    Attributes:
        model_: the network; its outputs times `target_scale_` plus `target_shift_` are predictions.
        n_features_in_, feature_names_in_, n_outputs_, n_iter_, loss_, loss_curve_, history_.
    """

    loss: Any = "squared_error"
    scale_targets: bool = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on rows X (rows, features) and numbers y (rows,) or (rows, outputs).

        Args:
            sample_weight: (rows,), what each counts in the loss; rows of weight 0 are left out.

        Raises:
            ValueError: arrays that do not fit, a nan or an infinity.
            NonFiniteError: the training diverged.
        """
        self._fit(X, y, sample_weight, self.warm_start and hasattr(self, "model_"), None)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch on these rows, going on with the network there is."""
        self._fit(X, y, sample_weight, hasattr(self, "model_"), 1)
        return self

    def predict(self, X: Any) -> Array:
        """(rows,) or (rows, outputs), as y was, where X lies."""
        z = self._outputs(X)
        xp = array_module(z)
        y = z * xp.asarray(self.target_scale_) + xp.asarray(self.target_shift_)
        return y.astype(z.dtype)[:, 0] if self._flat else y.astype(z.dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2, of several outputs the mean."""
        if not on_gpu(X):
            return float(super().score(X, y, sample_weight))
        weight = checked_weight(sample_weight, X)
        return metrics.r2(to_device(y, device_of(X)), self.predict(X), weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(self, x: Any, y: Any, weight: Any, going_on: bool, epochs: int | None) -> None:
        x, y = checked_xy(self, x, y, reset=not going_on, multi_output=True, y_numeric=True)
        weight, x, y = counted(checked_weight(weight, x), x, y)
        flat, y = y.ndim == 1, to_device(y, device_of(x)).reshape(len(y), -1)
        if going_on:
            trainer, shift, scale = self._trainer, self.target_shift_, self.target_scale_
            if y.shape[1] != self.n_outputs_:
                raise ValueError(f"y has {y.shape[1]} outputs, the network {self.n_outputs_}")
        else:
            with np.errstate(over="ignore"):
                shift, scale = _scaling(y, weight) if self.scale_targets else _none(y)
            if epochs is not None:  # of the first rows: later ones may differ where these do not
                scale = or_1(scale)
            trainer = self._begin(x, y.shape[1], _loss(self.loss))
        _need_room(y, trainer.model.parameters()[0].dtype)
        xp = array_module(y)
        t = (y.astype(np.float64) - xp.asarray(shift)) / xp.asarray(or_1(scale))
        learnt = {"target_shift_": shift, "target_scale_": scale, "_flat": flat}
        self._train(trainer, x, t, weight, epochs, learnt | {"n_outputs_": y.shape[1]})


def _need_room(y: Array, dtype: Any) -> None:
    """ValueError for numbers so large that those of `dtype` near them overflow, or their squares in
    float64.
    """
    largest, most = float(abs(y).max()), min(float(np.finfo(dtype).max) / 1e3, 1e150)
    if largest > most:
        raise ValueError(
            f"y holds {largest:.3g}, too much for a network of {dtype}, {most:.1g} is the most; "
            "give y in another unit"
        )


def _none(y: Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.zeros(y.shape[1]), np.ones(y.shape[1])


def _scaling(y: Array, weight: Array | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Weighted mean and deviation of each output, on the host; of one that never changes its value
    and exactly 0.
    """
    xp, y = array_module(y), y.astype(np.float64)
    mean = xp.average(y, axis=0, weights=weight)
    spread = xp.sqrt(xp.average((y - mean) ** 2, axis=0, weights=weight))
    constant = y.min(axis=0) == y.max(axis=0)
    shift, scale = xp.where(constant, y[0], mean), xp.where(constant, 0.0, spread)
    return to_host(shift), to_host(scale)


def _loss(given: Any) -> Loss:
    if isinstance(given, Loss):
        return given
    if not isinstance(given, str) or given not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)} or a gpunet.Loss, got {given!r}")
    return LOSSES[given]()

"""MLPClassifier: a network under softmax and cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from gpunet import checked
from gpunet.backend import Array, array_module, device_of, to_device, to_host
from gpunet.functional import softmax
from gpunet.loss import SoftmaxWithLoss
from gpunet.sklearn.base import MLPEstimator
from gpunet.sklearn.inputs import checked_weight, checked_xy, counted, on_gpu


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLPEstimator):
    """A classifier: a multi-layer perceptron trained by gpunet.

    Args:
        hidden_layer_sizes, activation, ...: see `MLPEstimator`.
        class_weight: {class: weight}, where a class that is not named counts 1; or "balanced", all
            classes the same.
        label_smoothing: see `gpunet.SoftmaxWithLoss`.

    Attributes:
        model_: the network, whose outputs are the logits of `classes_`, in this order.
        classes_: the labels, sorted.
        n_features_in_, feature_names_in_, n_outputs_, n_iter_, loss_, loss_curve_, history_.
    """

    class_weight: Any = None
    label_smoothing: float = 0.0

    stratified: ClassVar[bool] = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPClassifier:
        """Train on rows X (rows, features) and labels y (rows,).

        Args:
            sample_weight: (rows,), what each counts in the loss; rows of weight 0 are left out.

        Raises:
            ValueError: arrays that do not fit, a nan or an infinity, fewer than two classes.
            NonFiniteError: the training diverged.
        """
        going_on = self.warm_start and hasattr(self, "model_")
        x, y, weight = self._checked(X, y, sample_weight, reset=not going_on)
        classes = self.classes_ if going_on else _classes(y)
        self._fit(x, y, weight, classes, going_on)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> MLPClassifier:
        """Train for one epoch on these rows, going on with the network there is.

        classes: all labels that will ever come; needed in the first call.
        """
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} cannot be had with partial_fit, which sees "
                "some of the rows; give {class: weight}"
            )
        if not first and classes is not None and not np.array_equal(classes, self.classes_):
            raise ValueError(f"classes are {self.classes_} since the first call, got {classes}")
        x, y, weight = self._checked(X, y, sample_weight, reset=first)
        labels = np.unique(np.asarray(classes)) if first else self.classes_
        self._fit(x, y, weight, labels, not first, epochs=1)
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each of `classes_`, (rows, classes), where X lies."""
        return softmax(self._outputs(X)).data

    def predict_log_proba(self, X: Any) -> Array:
        """Their logarithms."""
        probability = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return array_module(probability).log(probability)

    def predict(self, X: Any) -> Array:
        """The likeliest label of each row, (rows,): where X lies, text on the host."""
        best = self._outputs(X).argmax(axis=-1)
        if self.classes_.dtype.kind not in "fiub":
            best = to_host(best)
        return to_device(self.classes_, device_of(best))[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is right."""
        if not on_gpu(X):
            return float(super().score(X, y, sample_weight))
        found, weight = self.predict(X), checked_weight(sample_weight, X)
        right = found == to_device(y, device_of(found))
        return float(array_module(X).average(to_device(right, "cuda"), weights=weight))

    def _checked(self, x: Any, y: Any, weight: Any, reset: bool) -> tuple[Array, Any, Any]:
        x, y = checked_xy(self, x, y, reset=reset)
        if not on_gpu(y):
            check_classification_targets(y)
        elif y.dtype.kind == "f" and not bool((y == array_module(y).floor(y)).all()):
            raise ValueError("Unknown label type: continuous; y must hold class labels")
        weight, x, y = counted(checked_weight(weight, x), x, y)
        return x, y, weight

    def _fit(
        self,
        x: Array,
        y: Any,
        weight: Array | None,
        classes: np.ndarray[Any, Any],
        going_on: bool,
        epochs: int | None = None,
    ) -> None:
        if len(classes) < 2:
            raise ValueError(f"a classifier needs 2 classes at least, y has one class: {classes}")
        codes = to_device(_codes(y, classes), device_of(x))
        weight = self._weighted(codes, weight, classes)
        loss = SoftmaxWithLoss(self.label_smoothing)
        trainer = self._trainer if going_on else self._begin(x, len(classes), loss)
        learnt = {"classes_": classes, "n_outputs_": len(classes)}
        self._train(trainer, x, codes, weight, epochs, learnt)

    def _weighted(
        self, codes: Array, weight: Array | None, classes: np.ndarray[Any, Any]
    ) -> Array | None:
        """What each row counts, the weight of its class included."""
        if self.class_weight is None:
            return weight
        xp = array_module(codes)
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                raise ValueError(
                    'class_weight must be None, "balanced" or {class: weight}, got '
                    f"{self.class_weight!r}"
                )
            counts = xp.bincount(codes, weights=weight, minlength=len(classes))
            each = counts.sum() / (len(classes) * xp.maximum(counts, 1e-300))
        else:
            each = xp.asarray(_by_class(self.class_weight, classes))
        return each[codes] if weight is None else each[codes] * weight


def _classes(y: Any) -> np.ndarray[Any, Any]:
    """The different labels, sorted, on the host."""
    return to_host(array_module(y).unique(y))


def _codes(y: Any, classes: np.ndarray[Any, Any]) -> Array:
    """The number of each label among the classes, where y lies. ValueError for another label."""
    xp = array_module(y)
    known = xp.asarray(classes)
    codes = xp.minimum(xp.searchsorted(known, y), len(classes) - 1)
    strange = known[codes] != y
    if bool(strange.any()):
        new = to_host(xp.unique(y[strange]))
        raise ValueError(f"y holds labels that are no classes of this model: {new}")
    return codes.astype(np.int64)


def _by_class(given: Any, classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weights in the order of the classes. ValueError for a class that there is not, or a weight
    that is none.
    """
    if not hasattr(given, "get"):
        raise ValueError(
            f'class_weight must be None, "balanced" or {{class: weight}}, got {given!r}'
        )
    labels = classes.tolist()
    if unknown := [label for label in given if label not in labels]:
        raise ValueError(f"class_weight names {unknown}, the classes are {labels}")
    each = {f"of {label!r}": given.get(label, 1.0) for label in labels}
    return np.array([checked.not_negative(w, f"class_weight {of}") for of, w in each.items()])

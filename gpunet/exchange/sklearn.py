"""Models from scikit-learn's MLPClassifier and MLPRegressor, read by their attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.activation import ReLU, Sigmoid, Tanh
from gpunet.containers import Sequential
from gpunet.layer import Layer
from gpunet.layers import Affine

ACTIVATIONS: dict[str, type[Layer] | None] = {
    "relu": ReLU, "tanh": Tanh, "logistic": Sigmoid, "identity": None,
}  # fmt: skip


def from_sklearn(estimator: Any) -> Sequential:
    """A Sequential with the weights of a fitted MLPClassifier or MLPRegressor, on the CPU and in
    training mode.

    A classifier's outputs are the logits of `estimator.classes_`, in this order: softmax of them is
    `predict_proba`. (Of two classes scikit-learn has one logit, z; they become 0 and z.) With
    several labels a row they are the labels' logits, for SigmoidWithLoss.

    Raises:
        TypeError: another estimator.
        ValueError: one that was not fitted.
        NotImplementedError: a regressor of counts (loss="poisson"), whose outputs are exponentials.
    """
    if type(estimator).__module__.startswith("gpunet."):
        raise TypeError(f"this {type(estimator).__name__} is gpunet's own; take its model_")
    if not hasattr(estimator, "hidden_layer_sizes"):
        raise TypeError(
            f"from_sklearn takes an MLPClassifier or an MLPRegressor, got a "
            f"{type(estimator).__name__}"
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"this {type(estimator).__name__} is not fitted: call fit(X, y) first")
    if estimator.out_activation_ not in ("identity", "logistic", "softmax"):
        raise NotImplementedError(
            f"this {type(estimator).__name__} ends in {estimator.out_activation_}, which gpunet "
            "does not have"
        )
    act = ACTIVATIONS[estimator.activation]
    pairs: list[Any] = [*zip(estimator.coefs_, estimator.intercepts_, strict=True)]
    if len(getattr(estimator, "classes_", ())) == 2 and pairs[-1][1].shape == (1,):
        pairs[-1] = tuple(np.concatenate([np.zeros_like(a), a], axis=-1) for a in pairs[-1])
    layers: list[Layer] = []
    for W, b in pairs:
        layers += [act()] if layers and act else []
        affine = Affine(len(W), len(b), dtype=W.dtype)
        affine.W.data, affine.b.data = W, b  # type: ignore[union-attr]
        layers.append(affine)
    return Sequential(*layers)

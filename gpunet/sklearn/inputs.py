"""What estimators are given: NumPy by scikit-learn's checks, CuPy by the same where it is."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from gpunet import weights
from gpunet.backend import Array, array_module, device_of, need_numbers, to_device

FLOATS = (np.float64, np.float32)  # which stay what they are; anything else becomes the first


def on_gpu(x: Any) -> bool:
    """Whether it is a CuPy array."""
    return array_module(x) not in (None, np)


def checked_x(estimator: Any, x: Any) -> Array:
    """Rows to predict, of the features that the estimator was fitted on."""
    if on_gpu(x):
        return _on_gpu(estimator, x, reset=False)
    return validate_data(estimator, x, dtype=FLOATS, reset=False)


def checked_xy(estimator: Any, x: Any, y: Any, *, reset: bool, **y_rules: Any) -> tuple[Array, Any]:
    """Rows and targets to fit on.

    reset: their features are those of the estimator from now on. y_rules: scikit-learn's, for
    arrays on the host.
    """
    if not on_gpu(x):
        if on_gpu(y):
            raise ValueError("X is a NumPy array and y a CuPy array; give both on one device")
        return validate_data(estimator, x, y, dtype=FLOATS, reset=reset, **y_rules)  # type: ignore[no-any-return]
    x = _on_gpu(estimator, x, reset)
    y = y if on_gpu(y) else np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1 and not y_rules.get("multi_output"):
        y = y.ravel()
    if y.ndim != 1 and not (y.ndim == 2 and y_rules.get("multi_output")):
        raise ValueError(f"y should be a 1d array, got shape {y.shape}")
    if len(y) != len(x):
        raise ValueError(f"X has {len(x)} rows but y has {len(y)}")
    return x, y


def _on_gpu(estimator: Any, x: Array, reset: bool) -> Array:
    need_numbers(x, "X")
    if x.ndim != 2:
        raise ValueError(f"X must have two axes, rows and features, got shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"X must have a row and a feature at least, got shape {x.shape}")
    if reset:
        estimator.n_features_in_ = x.shape[1]
        vars(estimator).pop("feature_names_in_", None)
    elif x.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {x.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    if not bool(array_module(x).isfinite(x).all()):
        raise ValueError("X contains NaN or infinity")
    return x if x.dtype in FLOATS else x.astype(FLOATS[0])


def checked_weight(weight: Any, x: Array) -> Array | None:
    """Weights of the rows of x, float64, beside them; None if all rows count the same.

    ValueError, TypeError as `weights.of_data`.
    """
    if weight is None or isinstance(weight, Number):
        return None
    found = to_device(weights.of_data(weight, len(x), "sample_weight"), device_of(x))
    return None if bool((found == found[0]).all()) else found


def counted(weight: Array | None, *arrays: Array) -> tuple[Any, ...]:
    """(weight, *arrays) without the rows of weight 0."""
    if weight is None or bool((weight > 0).all()):
        return (weight, *arrays)
    kept = weight > 0
    return tuple(array[to_device(kept, device_of(array))] for array in (weight, *arrays))

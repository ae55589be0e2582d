"""gpunet.sklearn.classifier: labels, probabilities, weights of rows and classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.datasets import load_wine
from sklearn.preprocessing import scale

from gpunet.sklearn import MLPClassifier

X, Y = load_wine(return_X_y=True)
X = scale(X)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 1, "lr": 0.01}


def fitted(y: Any = Y, weight: Any = None, **settings: Any) -> MLPClassifier:
    return MLPClassifier(**QUICK | settings).fit(X, y, weight)


@pytest.mark.parametrize(
    "labels",
    [np.array(["red", "rosé", "white"]), np.array([-7, 0, 900]), np.array(["a", "b", None])[:2]],
)
def test_labels_come_back(labels: Any) -> None:
    y = labels[Y % len(labels)]
    found = fitted(y, max_iter=60)
    assert found.classes_.tolist() == sorted(labels.tolist())
    assert found.predict(X).dtype == y.dtype
    assert found.score(X, y) > 0.95
    assert set(found.predict(X).tolist()) <= set(labels.tolist())


def test_probabilities() -> None:
    found = fitted(label_smoothing=0.1)
    p = found.predict_proba(X)
    assert p.shape == (178, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(found.predict_log_proba(X), np.log(p))
    np.testing.assert_array_equal(found.classes_[p.argmax(axis=1)], found.predict(X))
    np.testing.assert_allclose(gn.functional.softmax(found.model_(X)).data, p)


def test_class_weights_are_weights_of_rows() -> None:
    """And a class that is not named counts 1."""
    one = fitted(class_weight={0: 3, 2: 0.5})
    two = fitted(weight=np.array([3, 1, 0.5])[Y])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-9)
    balanced = fitted(class_weight="balanced")
    three = fitted(weight=(178 / 3 / np.bincount(Y))[Y])
    np.testing.assert_allclose(balanced.predict_proba(X), three.predict_proba(X), rtol=1e-9)


def test_balanced_counts_weights() -> None:
    times = np.arange(178) % 3
    rows = np.repeat(np.arange(178), times)
    one = fitted(class_weight="balanced", weight=times, batch_size=None)
    two = MLPClassifier(**QUICK, class_weight="balanced", batch_size=None).fit(X[rows], Y[rows])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), rtol=1e-6)


def test_equal_weights_are_none() -> None:
    np.testing.assert_array_equal(
        fitted(weight=np.full(178, 0.3)).predict_proba(X), fitted().predict_proba(X)
    )


@pytest.mark.parametrize("early", [False, True])
def test_rows_of_weight_0_are_not_there(early: bool) -> None:
    """Their class, too, is none."""
    weight = np.where(Y == 2, 0, 1 + np.arange(178) % 2)
    kept = weight > 0
    one = fitted(weight=weight, early_stopping=early, batch_size=32)
    two = MLPClassifier(**QUICK, early_stopping=early, batch_size=32)
    two.fit(X[kept], Y[kept], weight[kept])
    assert one.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


def test_what_is_held_out_has_every_class_in_its_share() -> None:
    found = MLPClassifier(**QUICK, validation_fraction=0.25)
    found.fit(X, Y)
    train, held = found._split(X, Y)
    assert sorted([*train, *held]) == list(range(178))
    assert np.bincount(Y[held]).tolist() == [15, 17, 12]  # of 59, 71, 48


def test_partial_fit() -> None:
    found = MLPClassifier(**QUICK)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        found.partial_fit(X, Y)
    found.partial_fit(X[Y < 2], Y[Y < 2], classes=[2, 0, 1])
    assert found.classes_.tolist() == [0, 1, 2]
    for _ in range(60):
        found.partial_fit(X, Y)
    assert found.score(X, Y) > 0.9
    assert found.n_iter_ == 61
    with pytest.raises(ValueError, match="classes are"):
        found.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"labels that are no classes of this model: \[7\]"):
        found.partial_fit(X, np.where(Y == 1, 7, Y))
    with pytest.raises(ValueError, match="cannot be had with partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, Y, [0, 1, 2])


BAD: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "one class": (np.zeros(178), None, {}, "needs 2 classes at least, y has one class"),
    "numbers": (X[:, 0], None, {}, "Unknown label type: continuous"),
    "weights": (Y, -np.ones(178), {}, "sample_weight -1.0 in row 0"),
    "zeros": (Y, np.zeros(178), {}, "sample_weight is zero in every row"),
    "few": (Y, np.ones(3), {}, r"sample_weight must have shape \(178,\)"),
    "class_weight": (Y, None, {"class_weight": "even"}, 'must be None, "balanced" or'),
    "list": (Y, None, {"class_weight": [1, 2, 3]}, 'must be None, "balanced" or'),
    "strange": (Y, None, {"class_weight": {9: 1}}, r"class_weight names \[9\]"),
    "negative": (Y, None, {"class_weight": {0: -1}}, "class_weight of 0 must be at least 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_targets(name: str) -> None:
    y, weight, settings, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        fitted(y, weight, **settings)


def test_score_counts_weights() -> None:
    found, weight = fitted(), np.arange(178)
    right = found.predict(X) == Y
    assert found.score(X, Y, weight) == pytest.approx((right * weight).sum() / weight.sum())

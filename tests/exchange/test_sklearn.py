"""from_sklearn: the model gives what the estimator gives."""

import warnings

import numpy as np
import pytest

import gpunet as gn

network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
rng = np.random.default_rng(0)
x = rng.normal(size=(60, 4))
KINDS = {
    "two classes": (network.MLPClassifier, np.where(x[:, 0] > 0, "yes", "no")),
    "three classes": (network.MLPClassifier, np.digitize(x[:, 0], [-0.5, 0.5])),
    "labels": (network.MLPClassifier, (x[:, :3] > 0).astype(int)),
    "one target": (network.MLPRegressor, x[:, 0] * 2),
    "two targets": (network.MLPRegressor, x[:, :2]),
}


def fitted(kind, activation="relu"):
    estimator, t = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thirty epochs are not enough, and are not meant to be
        return estimator(
            hidden_layer_sizes=(6, 5), activation=activation, max_iter=30, random_state=0
        ).fit(x, t)


def outputs(model):
    with model.evaluating(), gn.no_grad():
        return model(x).data


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions(kind, activation):
    estimator = fitted(kind, activation)
    y = outputs(gn.from_sklearn(estimator))
    if kind.endswith("classes"):
        y, expected = gn.functional.softmax(y).data, estimator.predict_proba(x)
    elif kind == "labels":
        y, expected = gn.functional.sigmoid(y).data, estimator.predict_proba(x)
    else:
        expected = estimator.predict(x).reshape(len(x), -1)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)


def test_what_it_does_not_take():
    with pytest.raises(ValueError, match="MLPRegressor is not fitted: call fit"):
        gn.from_sklearn(network.MLPRegressor())
    with pytest.raises(TypeError, match="got a list"):
        gn.from_sklearn([])
    counts = fitted("one target")
    counts.out_activation_ = "exp"  # of the loss poisson
    with pytest.raises(NotImplementedError, match="ends in exp"):
        gn.from_sklearn(counts)


def test_an_estimator_of_gpunets_has_its_network_already():
    from gpunet.sklearn import MLPClassifier

    with pytest.raises(TypeError, match="this MLPClassifier is gpunet's own; take its model_"):
        gn.from_sklearn(MLPClassifier())

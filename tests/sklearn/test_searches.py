"""gpunet.sklearn in pipelines, cross-validation and searches, by one process or several."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
import joblib
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gpunet.sklearn import MLPClassifier, MLPRegressor

X, Y = load_wine(return_X_y=True)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "lr": 0.02}
GRID = {"net__optimizer": ["adam", "sgd"], "net__hidden_layer_sizes": [(4,), (8, 8)]}


def pipeline() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("net", MLPClassifier(**QUICK))])


def search(**options: Any) -> GridSearchCV:
    return GridSearchCV(pipeline(), GRID, cv=2, **options)


def test_cross_validation() -> None:
    scores = cross_val_score(pipeline(), X, Y, cv=3)
    assert scores.shape == (3,)
    assert scores.mean() > 0.9


def test_columns_of_two_kinds() -> None:
    table = np.empty((178, 3), object)
    table[:, :2], table[:, 2] = X[:, :2], np.array(["low", "mid", "high"])[Y]
    columns = ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(), [2])])
    fitted = make_pipeline(columns, MLPClassifier(**QUICK)).fit(table, Y)
    assert fitted.score(table, Y) > 0.9


def test_grid_search_in_a_pipeline() -> None:
    found = search().fit(X, Y, net__sample_weight=np.ones(178))
    assert len(found.cv_results_["params"]) == 4
    assert found.best_score_ > 0.85
    assert found.best_params_["net__optimizer"] == "adam"
    assert found.predict(X).shape == (178,)


def test_halving_search() -> None:
    choices = {"lr": [1e-4, 1e-3, 1e-2, 3e-2], "activation": ["relu", "tanh", "gelu"]}
    found = HalvingRandomSearchCV(
        MLPRegressor(**QUICK),
        choices,
        resource="max_iter",
        min_resources=5,
        max_resources=45,
        cv=2,
        random_state=0,
    ).fit(StandardScaler().fit_transform(X[:, 1:]), X[:, 0])
    assert found.n_resources_ == [5, 15, 45]
    assert found.best_params_["lr"] in (1e-2, 3e-2)


def test_several_processes_find_the_same() -> None:
    """loky: estimators and data go to two other processes and come back."""
    alone = search().fit(X, Y)
    with warnings.catch_warnings(), joblib.parallel_config("loky", n_jobs=2):
        warnings.simplefilter("ignore")  # a worker that a full machine started late
        several = search().fit(X, Y)
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], several.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(alone.predict_proba(X), several.predict_proba(X))


def test_threads_find_the_same() -> None:
    alone = search().fit(X, Y)
    with joblib.parallel_config("threading", n_jobs=2):
        several = search().fit(X, Y)
    np.testing.assert_array_equal(alone.predict_proba(X), several.predict_proba(X))


def test_dask_finds_the_same() -> None:
    """The search as it is, under joblib's Dask backend, on a cluster of two workers."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    alone = search().fit(X, Y)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster) as client:
        workers = client.run(lambda: __import__("os").getpid())
        assert len(set(workers.values())) == 2
        with joblib.parallel_config("dask"):
            several = search().fit(X, Y)
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], several.cv_results_["mean_test_score"]
    )

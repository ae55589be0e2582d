"""Searching for settings: a grid in a Pipeline, then successive halving, by two processes.

What to notice: the network is a step of the pipeline like any other, so each fold is scaled by its
own training rows; any of the sixteen optimizers is a value of the grid; the search that spends its
epochs on the promising settings alone finds as good ones as the grid.

Needs scikit-learn: pip install 'gpunet[sklearn]'
"""

import joblib
from sklearn.datasets import load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import gpunet as gn
from gpunet.sklearn import MLPClassifier

GRID = {
    "net__optimizer": ["adam", "cocob", gn.Momentum(lr=0.05)],
    "net__hidden_layer_sizes": [(8,), (32, 16)],
}
CHOICES = {
    "net__optimizer": ["adam", "adamw", "nadam", "lion", "rmsprop"],
    "net__lr": [1e-4, 1e-3, 1e-2],
    "net__activation": ["relu", "gelu", "tanh"],
    "net__dropout": [0.0, 0.2],
}


def main():
    X, y = load_wine(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
    network = MLPClassifier(max_iter=60, random_state=0)
    model = Pipeline([("scale", StandardScaler()), ("net", network)])
    scores = cross_val_score(model, X, y)
    print(f"as it is: accuracy {scores.mean():.3f} ± {scores.std():.3f} over 5 folds")

    grid = GridSearchCV(model, GRID, cv=3)
    halving = HalvingRandomSearchCV(
        model,
        CHOICES,
        n_candidates=9,
        resource="net__max_iter",
        min_resources=10,
        max_resources=90,
        cv=3,
        random_state=0,
    )
    with joblib.parallel_config("loky", n_jobs=2):
        for name, search in (("grid", grid), ("halving", halving)):
            search.fit(X, y)
            tried, best = len(search.cv_results_["params"]), search.best_params_
            print(f"{name}: {tried} trainings in 3 folds, the best {search.best_score_:.3f} with")
            print("   ", ", ".join(f"{key[5:]} {value!r}" for key, value in sorted(best.items())))
            print(f"    on rows that it has not seen: {search.score(X_test, y_test):.3f}")


if __name__ == "__main__":
    main()

"""Regression with targets near 200,000, as they are, beside scikit-learn's.

What to notice: gpunet's MLPRegressor scales its targets by itself, so prices are fitted as they
come; scikit-learn's does not, and needs a TransformedTargetRegressor around it to learn anything
here. Then both explain the same. Prices are predicted in the unit in which they were given.

Needs scikit-learn: pip install 'gpunet[sklearn]'
"""

import warnings

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor as Theirs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpunet.sklearn import MLPRegressor


def houses(count=800, seed=0):
    """Area, age, rooms, distance and the price of each house, which noise of 8,000 is part of."""
    rng = np.random.default_rng(seed)
    area, age = rng.uniform(40, 220, count), rng.uniform(0, 80, count)
    rooms, distance = np.round(area / 30 + rng.normal(0, 0.7, count)), rng.gamma(2, 4, count)
    price = 120_000 + 900 * area * np.exp(-distance / 15) - 20 * (age - 40) ** 2 + 4_000 * rooms
    price += rng.normal(0, 8_000, count)
    return np.stack([area, age, rooms, distance], axis=1), price


def main():
    X, y = houses()
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    print(f"{len(y)} houses, prices {y.mean():,.0f} ± {y.std():,.0f}")
    settings = {"hidden_layer_sizes": (64,), "random_state": 0, "max_iter": 300}
    regressors = {
        "gpunet": MLPRegressor(**settings),
        "scikit-learn, as it is": Theirs(**settings),
        "scikit-learn, targets scaled": TransformedTargetRegressor(
            Theirs(**settings), transformer=StandardScaler()
        ),
    }
    for name, regressor in regressors.items():
        model = make_pipeline(StandardScaler(), regressor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        off = np.abs(model.predict(X_test) - y_test).mean()
        print(f"{name:<29} R2 {model.score(X_test, y_test):.4f}, off by {off:,.0f} on average")


if __name__ == "__main__":
    main()

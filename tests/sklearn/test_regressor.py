"""gpunet.sklearn.regressor: targets of any size, several outputs, losses, weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from gpunet.sklearn import MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 3))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1]
QUICK: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 1, "lr": 0.03}


@pytest.mark.parametrize("shift", [0, 200_000, -1e9])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 40_000])
def test_targets_of_any_size_are_learnt_alike(shift: float, scale: float) -> None:
    if abs(shift) > 1e6 * scale:
        shift = 1e6 * scale  # beyond it float64 has few digits left
    found = MLPRegressor(**QUICK).fit(X, shift + scale * Y)
    assert found.score(X, shift + scale * Y) > 0.9
    plain = MLPRegressor(**QUICK).fit(X, Y)
    wanted = shift + scale * plain.predict(X)
    np.testing.assert_allclose(found.predict(X), wanted, rtol=1e-6, atol=1e-4 * scale)


def test_a_constant_target() -> None:
    found = MLPRegressor(**QUICK).fit(X, np.full(150, 0.1))
    assert (found.target_shift_, found.target_scale_) == (0.1, 0)
    assert (found.predict(X) == 0.1).all()
    first = MLPRegressor(**QUICK).partial_fit(X[:1], Y[:1])  # and then others come
    for _ in range(99):
        first.partial_fit(X, Y)
    assert first.score(X, Y) > 0.8


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e36), ("float64", 1e200)])
def test_targets_that_no_float_near_them_holds(dtype: str, size: float) -> None:
    with pytest.raises(ValueError, match=f"too much for a network of {dtype}"):
        MLPRegressor(**QUICK, dtype=dtype).fit(X, Y * size)
    found = MLPRegressor(**QUICK, dtype=dtype).fit(X, Y * size / 1e70)
    assert np.isfinite(found.predict(X)).all()


def test_without_scaling() -> None:
    found = MLPRegressor(**QUICK, scale_targets=False).fit(X, Y)
    np.testing.assert_allclose(found.predict(X), found.model_(X).data[:, 0])
    with pytest.raises(ValueError, match="which no network of these layers learns"):
        MLPRegressor(**QUICK, scale_targets=False).fit(X, Y + 1e6)


def test_several_outputs() -> None:
    y = np.stack([Y, 1000 * Y[::-1] + 5e4], axis=1)
    found = MLPRegressor(**QUICK).fit(X, y)
    assert found.predict(X).shape == (150, 2)
    assert found.n_outputs_ == 2
    np.testing.assert_allclose(found.target_shift_, y.mean(axis=0))
    np.testing.assert_allclose(found.target_scale_, y.std(axis=0))
    assert found.fit(X, y[:, :1]).predict(X).shape == (150, 1)
    with pytest.raises(ValueError, match="y has 2 outputs, the network 1"):
        found.partial_fit(X, y)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", gn.Huber(0.3)])
def test_losses(loss: Any) -> None:
    assert MLPRegressor(**QUICK, loss=loss).fit(X, Y).score(X, Y) > 0.85


def test_an_outlier_pulls_less_at_an_absolute_error() -> None:
    y = np.where(np.arange(150) % 10 == 0, 50.0, Y)
    off = {
        loss: np.median(abs(MLPRegressor(**QUICK, loss=loss).fit(X, y).predict(X) - Y))
        for loss in ("squared_error", "absolute_error")
    }
    assert off["absolute_error"] < off["squared_error"] / 2


def test_bad_losses() -> None:
    for loss in ("mse", 3):
        with pytest.raises(ValueError, match="loss must be one of squared_error, "):
            MLPRegressor(loss=loss).fit(X, Y)


@pytest.mark.parametrize("early", [False, True])
def test_rows_of_weight_0_are_not_there(early: bool) -> None:
    weight = np.arange(150) % 3
    kept, settings = weight > 0, QUICK | {"early_stopping": early, "batch_size": 32}
    y = np.where(kept, Y, 1e9)
    one = MLPRegressor(**settings).fit(X, y, weight)
    two = MLPRegressor(**settings).fit(X[kept], Y[kept], weight[kept])
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_allclose(one.target_shift_, np.average(Y, weights=weight))


def test_whole_weights_are_rows_so_many_times() -> None:
    times = np.arange(150) % 3
    rows = np.repeat(np.arange(150), times)
    one = MLPRegressor(**QUICK).fit(X, Y, times)
    two = MLPRegressor(**QUICK).fit(X[rows], Y[rows])
    np.testing.assert_allclose(one.predict(X), two.predict(X), rtol=1e-6)


def test_partial_fit_keeps_the_scale_of_the_first_call() -> None:
    found = MLPRegressor(**QUICK).partial_fit(X, Y + 300)
    shift = found.target_shift_
    for _ in range(160):
        found.partial_fit(X[::2], Y[::2] + 300)
    assert found.target_shift_ is shift
    assert found.score(X, Y + 300) > 0.9

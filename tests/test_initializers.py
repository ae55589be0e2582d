"""gpunet.initializers: the variances of the papers, within what chance allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn

SHAPE = (200, 120)


def draw(init: Any, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Any:
    return init(np.random.Generator(np.random.Philox(seed)), shape)


def check_variance(w: Any, wanted: float) -> None:
    """n s^2 / sigma^2 is chi-square with n degrees of freedom: variance 2 n, taken 4 times over.

    A uniform distribution varies less.
    """
    n = w.size
    assert abs((w**2).mean() / wanted - 1) < 4 * np.sqrt(2 / n)
    assert abs(w.mean()) < 4 * np.sqrt(wanted / n)


VARIANCES: list[tuple[Any, float]] = [
    (gn.He(), 2 / 200),
    (gn.Xavier(), 2 / 320),
    (gn.Xavier(uniform=True), 2 / 320),
    (gn.LeCun(), 1 / 200),
    (gn.Normal(), 1e-4),
    (gn.Normal(0.3), 0.09),
]


@pytest.mark.parametrize(("init", "variance"), VARIANCES, ids=str)
def test_variance(init: Any, variance: float) -> None:
    w = draw(init)
    assert w.shape == SHAPE
    assert w.dtype == np.float64
    check_variance(w, variance)


@pytest.mark.parametrize(("init", "variance"), VARIANCES, ids=str)
def test_leading_axes_are_models(init: Any, variance: float) -> None:
    w = draw(init, (3, *SHAPE))
    assert w.shape == (3, *SHAPE)
    check_variance(w, variance)
    assert not np.array_equal(w[0], w[1])


def test_the_bound_of_the_uniform_xavier() -> None:
    w = draw(gn.Xavier(uniform=True))
    bound = np.sqrt(6 / 320)
    assert 0.99 * bound < np.abs(w).max() <= bound
    quarter = np.mean(np.abs(w) < bound / 4)
    assert abs(quarter - 0.25) < 4 * np.sqrt(0.25 * 0.75 / w.size)


def test_normal_is_normal() -> None:
    w = draw(gn.Normal(2.0)) / 2
    share = np.mean(np.abs(w) < 1)
    assert abs(share - 0.682689) < 4 * np.sqrt(0.6827 * 0.3173 / w.size)


def test_std_0_gives_zeros() -> None:
    assert not draw(gn.Normal(0.0)).any()


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_a_bad_std(std: float) -> None:
    with pytest.raises(ValueError, match="std must be"):
        gn.Normal(std)


def test_glorot_is_xavier() -> None:
    assert gn.Glorot is gn.Xavier


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_he_of_a_slope(slope: float) -> None:
    np.testing.assert_allclose(draw(gn.He(1.0)) * np.sqrt(2), draw(gn.He()))
    with pytest.raises(ValueError, match="slope must be a finite number, got"):
        gn.He(slope)


def test_the_same_generator_gives_the_same_weights() -> None:
    assert np.array_equal(draw(gn.He(), seed=5), draw(gn.He(), seed=5))
    assert not np.array_equal(draw(gn.He(), seed=5), draw(gn.He(), seed=6))

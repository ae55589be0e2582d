"""gpunet.study.landscapes: heights, gradients, minima and windows are what they say."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.contours import heights
from gpunet.study.landscapes import LANDSCAPES, Landscape, sin, sinc

ALL = pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
SMOOTH = pytest.mark.parametrize(
    "landscape", [k for k in LANDSCAPES.values() if "abs" not in k.name], ids=lambda k: k.name
)

KNOWN = [
    ("bowl", (-7, 2), 49 / 20 + 4),
    ("wells", (1,), 0.3),
    ("inflection", (1,), -1 / 3),
    ("saddle", (-1.5, 0.5), 2.0),
    ("bounded-saddle", (0, math.sqrt(2)), -1.0),
    ("plateau", (3, 4), 1 - math.exp(-12.5)),
    ("beale", (1, 1), 14.203125),  # Moré, Garbow & Hillstrom's start
    ("beale", (3, 0.5), 0.0),
    ("rosenbrock", (-1.2, 1), 24.2),
    ("rastrigin", (1, -2), 5.0),
    ("rastrigin", (0.5, 0), 20.25),
    ("abs", (-2.5,), 2.5),
    ("abs10", (4,), 6.0),
    ("sinc", (2,), 5 * math.sin(2)),
    ("sinc", (0,), 10.0),
]


def inside(landscape: Landscape, count: int = 25) -> np.ndarray:
    low, high = np.array(landscape.window).T
    return np.random.default_rng(5).uniform(low, high, (count, landscape.dim))


@ALL
def test_autograd_agrees_with_central_differences(landscape: Landscape) -> None:
    assert gn.gradcheck(landscape.function, inside(landscape))


@pytest.mark.parametrize("op", [sin, sinc])
def test_ops(op: gn.Op) -> None:
    assert gn.gradcheck(op, np.array([-7.0, -1e-3, 1e-5, 0.0, 0.3, 4.4934]))


def test_sinc_near_zero_follows_its_series() -> None:
    x = np.array([0.0, 1e-8, 1e-5, 9e-5, 1.1e-4, 1e-2])
    y, backward = sinc.pair(x)
    np.testing.assert_allclose(y, 1 - x**2 / 6 + x**4 / 120, rtol=1e-13)
    np.testing.assert_allclose(backward(np.ones(6)), -x / 3 + x**3 / 30, rtol=2e-7, atol=0)


@pytest.mark.parametrize(("name", "point", "height"), KNOWN)
def test_known_heights(name: str, point: tuple[float, ...], height: float) -> None:
    assert LANDSCAPES[name].value(point) == pytest.approx(height, abs=1e-12)


@ALL
def test_points_may_have_leading_axes(landscape: Landscape) -> None:
    points = inside(landscape, 12).reshape(3, 4, landscape.dim)
    values, gradients = landscape(points), landscape.gradient(points)
    assert values.shape == (3, 4)
    assert gradients.shape == points.shape
    assert values[1, 2] == pytest.approx(landscape.value(points[1, 2]), rel=1e-14)
    np.testing.assert_allclose(gradients[1, 2], landscape.gradient(points[1, 2]), rtol=1e-13)


@SMOOTH
def test_gradient_is_zero_in_a_minimum(landscape: Landscape) -> None:
    for minimum in landscape.minima:
        gradient = landscape.gradient(np.array(minimum, float))
        np.testing.assert_allclose(gradient, 0, atol=1e-12)


@ALL
def test_all_around_a_minimum_it_is_higher(landscape: Landscape) -> None:
    around = np.random.default_rng(0).normal(size=(50, landscape.dim))
    around *= 1e-3 / np.linalg.norm(around, axis=1, keepdims=True)
    for minimum in landscape.minima:
        assert (landscape(minimum + around) > landscape.value(minimum)).all()


@ALL
def test_the_first_minimum_is_the_lowest_place_in_the_window(landscape: Landscape) -> None:
    if landscape.minima:
        lowest = landscape.value(landscape.minima[0])
        assert heights(landscape, 401, 301).min() >= lowest - 1e-12
        assert all(landscape.value(m) >= lowest for m in landscape.minima)


@ALL
def test_what_is_said_fits_together(landscape: Landscape) -> None:
    low, high = np.array(landscape.window, float).T
    assert (low < high).all()
    assert landscape.dim in (1, 2)
    for start in landscape.starts:
        assert len(start) == landscape.dim
        assert (low < start).all()
        assert (start < high).all()
        assert np.isfinite(landscape.value(start))
    assert landscape.steps > 0
    assert landscape.source
    assert landscape.lesson.endswith(".")
    assert LANDSCAPES[landscape.name] is landscape
    with pytest.raises(dataclasses.FrozenInstanceError):
        landscape.steps = 3  # type: ignore[misc]


def test_numbers_in_the_sources() -> None:
    wells, plateau = LANDSCAPES["wells"], LANDSCAPES["plateau"]
    (left,), (right,) = wells.minima
    hill = wells(np.linspace(left, right, 10_001)[:, None]).max()
    assert hill - wells.value((right,)) == pytest.approx(0.72, abs=0.005)
    slope = np.linalg.norm(plateau.gradient(np.array(plateau.starts[0])))
    assert slope == pytest.approx(0.0054, abs=5e-5)

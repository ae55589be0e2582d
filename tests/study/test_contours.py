"""gpunet.study.contours: heights on a grid, and levels worth drawing."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.study.contours import heights, levels
from gpunet.study.landscapes import LANDSCAPES


def test_heights_have_y_upwards_and_x_to_the_right() -> None:
    beale = LANDSCAPES["beale"]
    (left, right), (low, high) = beale.window
    values = heights(beale, 12, 5)
    assert values.shape == (5, 12)
    assert values[0, 0] == pytest.approx(beale.value((left, low)))
    assert values[0, -1] == pytest.approx(beale.value((right, low)))
    assert values[-1, 0] == pytest.approx(beale.value((left, high)))


def test_heights_of_a_curve() -> None:
    values = heights(LANDSCAPES["abs"], 7)
    np.testing.assert_allclose(values, [3, 2, 1, 0, 1, 2, 3], atol=1e-15)


@pytest.mark.parametrize("name", [k for k, v in LANDSCAPES.items() if v.dim == 2])
def test_levels_rise_from_lowest_to_highest_and_share_the_area(name: str) -> None:
    values = heights(LANDSCAPES[name], 81, 61)
    found = levels(values)
    assert len(found) == 15
    assert (np.diff(found) > 0).all()
    assert found[[0, -1]] == pytest.approx([values.min(), values.max()])
    below = (values < found[7]).mean()  # half of the area, where heights are denser below
    assert 0.45 < below < 0.55 or np.median(values) > values.mean()


def test_even_heights_get_even_levels() -> None:
    np.testing.assert_allclose(levels(np.linspace(2, 9, 101), 7), np.arange(2, 10))


def test_levels_of_odd_heights() -> None:
    assert levels(np.full(9, 3.0)).tolist() == [3.0, 4.0]
    assert levels(np.array([np.nan, 1.0, np.inf, 2.0]))[[0, -1]].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="no height is finite"):
        levels(np.array([np.nan]))

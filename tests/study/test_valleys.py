"""gpunet.study.valleys: what a narrow valley costs, along an axis and turned."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.study.hessian import at
from gpunet.study.valleys import valley, valleys
from tests.console import Run, assert_one_line


@pytest.mark.parametrize("turned", [False, True])
def test_a_valley_is_as_narrow_as_it_says(turned: bool) -> None:
    place = valley(50, turned)
    found = at(place, (0.0, 0.0))
    assert found.highest / found.lowest == pytest.approx(50, rel=1e-4)
    start = np.array(place.starts[0])
    assert place(start) == pytest.approx(1)  # the same height, turned or not


def test_a_rate_for_each_weight_helps_along_an_axis_only() -> None:
    along, turned = (table.rows for table in valleys((1, 20)))
    sgd, momentum, adagrad = (along[1][k] for k in (1, 2, 3))
    assert along[0][1] < sgd / 5  # the narrower, the more
    assert adagrad < sgd / 2
    assert turned[1][1] == sgd  # SGD does not mind the turn
    assert turned[1][2] == momentum
    assert turned[1][3] > 2 * adagrad
    assert [row[-1] for row in (*along, *turned)] == [1] * 4  # Newton's


def test_the_command(gpunet: Run) -> None:
    assert_one_line(gpunet("study", "valleys", "--conditions", "0.5"), "a number from 1, got 0.5")

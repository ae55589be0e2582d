"""gpunet.study.noisy: noise leads out of a local minimum, and not always."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.noisy import share_at_the_lowest
from gpunet.study.paths import descend
from tests.console import Run, assert_one_line

WELLS = LANDSCAPES["wells"]


def test_noise_leaves_a_local_minimum_where_the_whole_gradient_stays() -> None:
    shares = [
        share_at_the_lowest(WELLS, "sgd", noise=noise, lr=0.05, steps=300) for noise in (0, 2, 5)
    ]
    assert shares[:2] == [0, pytest.approx(0.0, abs=0.05)]
    assert 0.5 < shares[2] < 0.8  # and not always


def test_noise_can_throw_momentum_out_again() -> None:
    assert share_at_the_lowest(WELLS, "momentum", noise=0, seeds=3) == 1
    assert 0.4 < share_at_the_lowest(WELLS, "momentum", noise=3) < 0.8


@pytest.mark.parametrize("name", gn.OPTIMIZERS)
def test_all_walks_at_once_are_each_alone(name: str) -> None:
    for start in WELLS.starts:
        end = descend(WELLS, name, start).points[-1]
        lowest = abs(end - WELLS.minima[0]) < abs(end - WELLS.minima[1])
        assert share_at_the_lowest(WELLS, name, start, noise=0, seeds=4) == float(lowest.all())


def test_a_walk_with_noise_is_the_same_again() -> None:
    one, again = (descend(WELLS, "adam", noise=2.0) for _ in range(2))
    assert np.array_equal(one.points, again.points)
    assert not np.array_equal(one.points, descend(WELLS, "adam").points)


def test_refused() -> None:
    with pytest.raises(ValueError, match="saddle has no minimum"):
        share_at_the_lowest(LANDSCAPES["saddle"], "sgd", noise=1)
    with pytest.raises(ValueError, match="noise must be"):
        share_at_the_lowest(WELLS, "sgd", noise=-1)
    far = replace(WELLS, starts=((1e100,),))
    assert share_at_the_lowest(far, "sgd", noise=1) == 0  # all went astray, and nothing is said


def test_the_command(gpunet: Run) -> None:
    words = ["--optimizers", "sgd", "--lr", "0.05", "--steps", "300", "--no-pictures"]
    found = gpunet("landscape", "wells", *words, "--noise", "5")
    assert (found.code, found.err) == (0, "")
    assert re.search(
        r"^sgd +with noise [567]\d\.\d% of 200 seeds end at the lowest", found.out, re.M
    )
    assert "the path without does not" in found.out
    assert_one_line(gpunet("landscape", "wells", "--noise", "-1"), "-1 is not a number from 0")
    assert_one_line(
        gpunet("landscape", "saddle", "--noise", "1"), "saddle has no minimum to end in"
    )

"""gpunet.study.second_order: Newton's method and L-BFGS on the landscapes."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.landscapes import LANDSCAPES
from tests.console import Run, assert_one_line


def test_newton_is_there_in_one_step_of_a_bowl() -> None:
    path = gn.study.newton("bowl")
    assert len(path) == 1
    with pytest.raises(ValueError, match="no landscape 'bwl'; there are bowl"):
        gn.study.newton("bwl")
    assert path.points[-1] == pytest.approx([0, 0], abs=1e-8)


def test_newton_goes_to_saddles_and_with_absolute_values_it_does_not() -> None:
    saddle = LANDSCAPES["bounded-saddle"]
    assert gn.study.newton(saddle).values[-1] == pytest.approx(0, abs=1e-9)
    assert gn.study.newton(saddle, absolute=True).values[-1] == pytest.approx(-1)
    hill = gn.study.newton(LANDSCAPES["wells"], (0.2,)).points[-1]
    assert LANDSCAPES["wells"].gradient(hill) == pytest.approx(0, abs=1e-9)
    assert abs(hill.item()) < 0.1  # the hill between the valleys


@pytest.mark.parametrize("name", ["bowl", "rosenbrock", "beale", "inflection", "plateau"])
def test_lbfgs_finds_the_minimum(name: str) -> None:
    pytest.importorskip("scipy")
    place = LANDSCAPES[name]
    path = gn.study.lbfgs(place)
    assert path.points[-1] == pytest.approx(np.array(place.minima[0]), abs=1e-4)
    assert path.points[:-1].shape == path.gradients.shape
    assert np.array_equal(path.values, place(path.points))


def test_what_leaves_all_numbers_behind_has_diverged() -> None:
    far = gn.study.newton(LANDSCAPES["plateau"], (25.0, 25.0), steps=5)  # flat to the last bit
    assert len(far) == 0 or far.diverged or np.isfinite(far.points).all()
    with pytest.raises(ValueError, match="no finite value at the start"):
        gn.study.newton(LANDSCAPES["bowl"], (1e200, 0.0))
    with pytest.raises(ValueError, match="is 2 numbers"):
        gn.study.newton(LANDSCAPES["bowl"], (1.0,))


def test_the_command(gpunet: Run) -> None:
    pytest.importorskip("scipy")
    found = gpunet("landscape", "bowl", "--optimizers", "lbfgs,sgd,newton", "--no-pictures")
    assert found.code == 0, found.err
    assert [line.split()[0] for line in found.out.splitlines()[:3]] == ["sgd", "newton", "lbfgs"]
    for words, error in {
        ("--lr", "1"): "Newton has no learning rate",
        ("--noise", "1"): "--noise is for the optimizers, and not for newton",
    }.items():
        assert_one_line(gpunet("landscape", "bowl", "--optimizers", "newton", *words), error)
    assert_one_line(gpunet("landscape", "bowl", "--optimizers", "newtn"), "unknown optimizer")
    assert_one_line(gpunet("landscape", "bowl", "--optimizers", ""), "no optimizer is named")

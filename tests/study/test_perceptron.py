"""gpunet.study.perceptron: KL is convex, L2 is not, and where their slopes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpunet.study.hessian import hessian
from gpunet.study.perceptron import SURFACES, T, X, best, lowest_curvature, perceptron
from gpunet.study.pictures import can_plot
from tests.console import Run


def test_the_losses_are_what_they_say() -> None:
    w, b = 0.7, -0.3
    y = 1 / (1 + np.exp(-(w * X + b)))
    assert SURFACES["L2"].value((w, b)) == pytest.approx(np.mean((y - T) ** 2))
    entropy = -np.mean(T * np.log(y) + (1 - T) * np.log(1 - y))
    assert SURFACES["KL"].value((w, b)) == pytest.approx(entropy)


def test_kl_curves_up_everywhere_and_l2_does_not() -> None:
    assert lowest_curvature(SURFACES["KL"]).min() > 0
    assert lowest_curvature(SURFACES["L2"]).min() < -0.1
    middle = np.linalg.eigvalsh(hessian(SURFACES["KL"].gradient, np.zeros(2)))[0]
    assert lowest_curvature(SURFACES["KL"])[40, 40] == pytest.approx(middle, rel=1e-4)


@pytest.mark.parametrize("name", SURFACES)
def test_the_best_is_a_minimum(name: str) -> None:
    surface = SURFACES[name]
    assert surface.gradient(best(surface)) == pytest.approx([0, 0], abs=1e-8)
    assert np.linalg.eigvalsh(hessian(surface.gradient, best(surface)))[0] > 0


def test_the_slopes() -> None:
    (_, *l2), (_, *kl) = perceptron()[1].rows
    assert kl[0] > 1000 * l2[0]  # far off
    for far, near in (l2[2:], kl[2:]):
        assert near < 0.2 * far


def test_the_command(gpunet: Run, tmp_path: Path) -> None:
    found = gpunet("study", "losses")
    assert found.code == 0, found.err
    files = {path.name for path in (tmp_path / "gpunet-out").iterdir()} if can_plot() else set()
    assert {"losses.png", "losses.svg"} <= files or not can_plot()

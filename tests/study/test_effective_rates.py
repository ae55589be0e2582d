"""gpunet.study.effective_rates: which rates fall, and which rise again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpunet.study.effective_rates import ADAPTIVE, effective_rates
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.pictures import can_plot
from tests.console import Run, assert_one_line


@pytest.mark.parametrize("name", ["bowl", "wells"])
def test_adagrads_only_falls_and_rmsprops_rises_again(name: str) -> None:
    for weight, optimizer, first, lowest, last, rises in (
        effective_rates(LANDSCAPES[name], ADAPTIVE).table().rows
    ):
        if optimizer == "AdaGrad":
            assert (rises, lowest) == (0, pytest.approx(last)), weight
            assert last < first
        if optimizer == "RMSProp":
            assert rises > 20
            assert lowest < last
        if optimizer == "SGD":
            assert first == pytest.approx(last)


def test_a_rate_is_lr_over_the_root_of_what_was_seen() -> None:
    found = effective_rates(LANDSCAPES["bowl"], ["adagrad"], steps=3)
    (path,) = found.paths
    seen = np.sqrt(np.cumsum(path.gradients**2, axis=0))
    assert path.effective_lr == pytest.approx(path.lr / seen)


def test_the_command(gpunet: Run, tmp_path: Path) -> None:
    found = gpunet("study", "rates", "--optimizers", "adagrad,rmsprop")
    assert found.code == 0, found.err
    files = {path.name for path in (tmp_path / "gpunet-out").glob("rates.*")}
    assert files == ({"rates.png", "rates.svg"} if can_plot() else set())
    assert_one_line(gpunet("study", "rates", "--optimizers", "adam"), "adam's steps are no rate")
    assert_one_line(gpunet("study", "rates", "--on", "nowhere"), "unknown landscape 'nowhere'")

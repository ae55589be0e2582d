"""gpunet.study.corrections: Adam's first steps with and without."""

from __future__ import annotations

import pytest

from gpunet.study.corrections import corrections
from tests.console import Run, assert_one_line


@pytest.mark.parametrize(("beta2", "first"), [(0.999, 10**0.5), (0.99, 1.0)])
def test_the_first_step_without_them(beta2: float, first: float) -> None:
    rows = corrections((0.9, beta2)).rows
    assert [row[3] for row in rows] == pytest.approx([1] * len(rows))
    assert rows[0][4] == pytest.approx(first)
    assert max(row[4] for row in rows) > 2 * first  # a later one is longer
    assert rows[-1][4] < 1.3  # and they wear off


def test_noise_makes_steps_shorter() -> None:
    assert corrections(noise=1.0).rows[-1][3] < 0.8


def test_refused(gpunet: Run) -> None:
    assert_one_line(gpunet("study", "corrections", "--betas", "0.9"), "Adam has two betas")
    assert_one_line(gpunet("study", "corrections", "--betas", "0.9,1"), r"in \[0, 1\)")

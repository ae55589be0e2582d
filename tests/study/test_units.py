"""gpunet.study.units: who minds the unit of a weight or of the loss."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.study.units import SETTINGS, UNIT, units, walk

WEIGHT, LOSS, RATE = units()


def test_adadelta_keeps_its_path_and_the_others_want_another_rate() -> None:
    for name, same, _, then in WEIGHT.rows:
        assert then < 1e-3, name
        assert (same < 1e-3) == (name == "AdaDelta"), name


def test_without_its_eps_in_the_new_unit_adadelta_starts_elsewhere() -> None:
    """Its eps is its first step: one that stays is a thousand times as large in the new unit."""
    plain = walk("adadelta", 1.0, 1.0, SETTINGS["adadelta"])
    other = walk("adadelta", UNIT, 1.0, SETTINGS["adadelta"])
    assert np.abs(plain - other).max() > 1


def test_the_losss_scale_changes_none_of_the_four_but_for_eps() -> None:
    for name, same, scaled in LOSS.rows:
        if name == "SGD":
            assert same == np.inf
        else:
            assert same < 1e-3, name
            assert scaled < (1e-3 if name == "AdaDelta" else 1e-12), name


def test_a_rate_multiplies_adadeltas_steps() -> None:
    first = [row[1] for row in RATE.rows]
    assert first == pytest.approx([first[0] * k for k in (1, 10, 100, 1000)])
    assert RATE.rows[0][2] == "never"  # in 200 steps
    assert RATE.rows[1][2] > RATE.rows[2][2]
    assert RATE.rows[3][3] > 1  # too large a one swings

"""Which runs there are, and at which learning rates."""

from __future__ import annotations

import pytest

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare import grid as grids
from gpunet.study.compare.grid import Run


def test_half_decades() -> None:
    assert grids.half_decades(1e-3, 0.3) == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    assert grids.half_decades(2e-3, 0.05) == [0.003, 0.01, 0.03]
    assert grids.half_decades(4.0, 5.0) == []


def test_default_grid_holds_the_default_rate_well_inside() -> None:
    for name, kind in OPTIMIZERS.items():
        if not kind.has_lr:
            assert grids.grids([name]) == {name: [None]}
            continue
        grid = grids.default_grid(name)
        assert len(grid) == 9, name
        assert grid[0] <= kind(None).defaults["lr"] <= grid[-1], name


def test_only_cocob_has_no_rate() -> None:
    assert [name for name, kind in OPTIMIZERS.items() if not kind.has_lr] == ["cocob"]


def test_signs_want_smaller_rates_and_adadelta_about_one() -> None:
    assert grids.default_grid("lion")[-1] < grids.default_grid("adam")[-1]
    assert grids.default_grid("adadelta")[4] == 1.0


def test_own_grid_before_the_common_one_before_the_default() -> None:
    given = [(None, [0.1]), ("lion", [1e-5])]
    assert grids.grids(["adam", "lion", "cocob"], given) == {
        "adam": [0.1],
        "lion": [1e-5],
        "cocob": [None],
    }
    assert grids.grids(["adam"]) == {"adam": grids.default_grid("adam")}
    with pytest.raises(ValueError, match="lion, which is not among adam"):
        grids.grids(["adam"], given)


def test_one_whole_seed_after_the_other() -> None:
    runs = grids.all_runs({"adam": [0.1, 1.0], "cocob": [None]}, 2)
    assert runs[:3] == [Run("adam", 0.1, 0), Run("adam", 1.0, 0), Run("cocob", None, 0)]
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert [run.label for run in runs[:3]] == ["adam-lr0.1-seed0", "adam-lr1-seed0", "cocob-seed0"]

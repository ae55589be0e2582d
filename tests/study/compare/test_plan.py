"""Which runs there are, and what a reader may write for learning rates and optimizers."""

from __future__ import annotations

import pytest

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare import plan
from gpunet.study.compare.plan import Run


def test_half_decades() -> None:
    assert plan.half_decades(1e-3, 0.3) == [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
    assert plan.half_decades(2e-3, 0.05) == [0.003, 0.01, 0.03]
    assert plan.half_decades(4.0, 5.0) == []


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_default_grid_holds_the_default_rate_well_inside(name: str) -> None:
    if not OPTIMIZERS[name].has_lr:
        assert plan.grids([name]) == {name: [None]}
        return
    grid = plan.default_grid(name)
    assert len(grid) == 9
    default = OPTIMIZERS[name](None).defaults["lr"]
    assert grid[0] <= default <= grid[-1]


def test_only_cocob_has_no_rate() -> None:
    assert [name for name, kind in OPTIMIZERS.items() if not kind.has_lr] == ["cocob"]


def test_signs_want_smaller_rates_and_adadelta_about_one() -> None:
    assert plan.default_grid("lion")[-1] < plan.default_grid("adam")[-1]
    assert plan.default_grid("adadelta")[4] == 1.0


def test_read_optimizers() -> None:
    assert plan.read_optimizers("all") == list(OPTIMIZERS)
    assert plan.read_optimizers(" Adam,cocob,adam ") == ["adam", "cocob"]
    with pytest.raises(ValueError, match=r"'adm'.*adamw"):
        plan.read_optimizers("adm")
    with pytest.raises(ValueError, match="no optimizer"):
        plan.read_optimizers(",")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.1,0.01,0.1", (None, [0.01, 0.1])),
        ("1e-3:1e-2", (None, [0.001, 0.003, 0.01])),
        ("lion=1e-5", ("lion", [1e-5])),
        ("SGD=0.1:1", ("sgd", [0.1, 0.3, 1.0])),
    ],
)
def test_read_grid(text: str, found: object) -> None:
    assert plan.read_grid(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "'x' is no learning rate"),
        ("-1", "above 0"),
        ("inf", "above 0"),
        ("nan", "above 0"),
        ("", "holds no learning rate"),
        ("4:5", "holds no 1, 3, 10"),
        ("0.1:", "'' is no learning rate"),
        ("cocob=0.1", "COCOB has no learning rate"),
        ("adm=0.1", "no optimizer 'adm'"),
    ],
)
def test_a_bad_grid_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan.read_grid(text)


def test_own_grid_before_the_common_one_before_the_default() -> None:
    given = [(None, [0.1]), ("lion", [1e-5])]
    assert plan.grids(["adam", "lion", "cocob"], given) == {
        "adam": [0.1],
        "lion": [1e-5],
        "cocob": [None],
    }
    assert plan.grids(["adam"]) == {"adam": plan.default_grid("adam")}
    with pytest.raises(ValueError, match="lion, which is not among adam"):
        plan.grids(["adam"], given)


def test_one_whole_seed_after_the_other() -> None:
    runs = plan.all_runs({"adam": [0.1, 1.0], "cocob": [None]}, 2)
    assert runs[:3] == [Run("adam", 0.1, 0), Run("adam", 1.0, 0), Run("cocob", None, 0)]
    assert [run.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert [run.label for run in runs[:3]] == ["adam-lr0.1-seed0", "adam-lr1-seed0", "cocob-seed0"]

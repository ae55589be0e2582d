"""What a reader may type for optimizers, learning rates, layer sizes and points."""

from __future__ import annotations

import pytest

from gpunet.commands import parse
from gpunet.optim import OPTIMIZERS


def test_optimizers() -> None:
    assert parse.optimizers(" All ") == list(OPTIMIZERS)
    assert parse.optimizers(" Adam,cocob,adam, ") == ["adam", "cocob"]
    with pytest.raises(ValueError, match="unknown optimizer 'adma'; did you mean adam"):
        parse.optimizers("sgd,adma")
    with pytest.raises(ValueError, match="unknown optimizer 'xyz'; there are sgd, momentum"):
        parse.optimizer("xyz")
    with pytest.raises(ValueError, match="no optimizer is named; give all, or names"):
        parse.optimizers(",")


def test_sizes_and_points() -> None:
    assert parse.sizes("") == parse.sizes(" ") == ()
    assert parse.sizes("100, 50") == (100, 50)
    assert parse.point("-7,2e0") == (-7.0, 2.0)
    with pytest.raises(ValueError, match="'nan' is no coordinate"):
        parse.point("1, nan")


def test_rates() -> None:
    assert parse.rates("") == {}
    assert parse.rates("0.5, Adam = 0.1") == {"": 0.5, "adam": 0.1}
    assert parse.rate("0") == 0.0


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.1,0.01,0.1,", (None, [0.01, 0.1])),
        ("1e-3:1e-2", (None, [0.001, 0.003, 0.01])),
        ("1e-2:1e-3", (None, [0.001, 0.003, 0.01])),
        ("lion=1e-5", ("lion", [1e-5])),
        ("SGD=0.1:1", ("sgd", [0.1, 0.3, 1.0])),
    ],
)
def test_a_grid(text: str, found: parse.Grid) -> None:
    assert parse.grid(text) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x", "'x' is no learning rate"),
        ("-1", "above 0"),
        ("0", "above 0"),
        ("inf", "above 0"),
        ("nan", "above 0"),
        ("", "holds no learning rate"),
        ("4:5", "holds no 1, 3, 10"),
        ("0.1:", "'' is no learning rate"),
        ("0.1:1:2", "'1:2' is no learning rate"),
        ("cocob=0.1", "COCOB has no learning rate"),
        ("adm=0.1", "unknown optimizer 'adm'"),
        ("=0.1", "unknown optimizer ''"),
    ],
)
def test_a_bad_grid(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse.grid(text)

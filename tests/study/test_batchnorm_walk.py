"""gpunet.study.batchnorm_walk: every value and gradient is right, and a wrong one shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gpunet import DeviceError
from gpunet.backend import to_host
from gpunet.study import batchnorm_walk
from gpunet.study.batchnorm_walk import Walk, batchnorm

EPS = 1e-5
STAGES = ("mean", "centre", "square", "variance", "root", "normalise", "scale", "shift")


def numbers(rows: int = 5, features: int = 3) -> tuple[Any, ...]:
    draw = np.random.default_rng(7).normal
    shape = rows, features
    return draw(3, 2, shape), draw(1, 0.5, features), draw(0, 1, features), draw(0, 1, shape)


def walk(xp: Any = np, *shape: int) -> Walk:
    return batchnorm(*(xp.asarray(a) for a in numbers(*shape)))


def test_the_three_ways_agree(xp: Any) -> None:
    for shape in ((2, 1), (5, 3), (64, 20)):
        found = walk(xp, *shape)
        assert found.differences.keys() == {"y", "dx", "dgamma", "dbeta"}
        assert 0 <= found.difference < 1e-12
        assert type(found["x"].gradient) is type(found.framework["dx"])


def test_the_difference_is_that_of_the_worst_result() -> None:
    found = walk()
    found.closed_form["dgamma"] = found.closed_form["dgamma"] + np.array([0, -0.25, 0])
    found.framework["dx"] = found.framework["dx"] + 0.125
    assert found.differences["dgamma"] == pytest.approx(0.25)
    assert found.differences["dx"] == pytest.approx(0.125)
    assert found.difference == pytest.approx(0.25)
    found.framework["dx"] = found.framework["dx"] * np.nan
    assert np.isnan(found.difference)


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_backward_of_any_stage_shows(stage: str, monkeypatch: Any) -> None:
    right = getattr(batchnorm_walk, stage)

    def wrong(*arrays: Any) -> Any:
        y, back = right(*arrays)

        def a_hundredth_off(g: Any) -> Any:
            found = back(g)
            return (1.01 * found[0], *found[1:]) if isinstance(found, tuple) else 1.01 * found

        return y, a_hundredth_off

    monkeypatch.setattr(batchnorm_walk, stage, wrong)
    assert walk().difference > 1e-4


# Each stage's value into the loss sum(y dy), by the steps behind it.
Loss = Callable[[Any, dict[str, Any]], Any]
BEHIND: dict[str, Loss] = {
    "shift": lambda y, k: (y * k["dy"]).sum(),
    "scale": lambda m, k: BEHIND["shift"](m + k["beta"], k),
    "normalise": lambda n, k: BEHIND["scale"](k["gamma"] * n, k),
    "root": lambda r, k: BEHIND["normalise"](k["centre"] / r, k),
    "variance": lambda v, k: BEHIND["root"](np.sqrt(v + EPS), k),
    "square": lambda s, k: BEHIND["variance"](s.mean(axis=0), k),
    "centre": lambda c, k: BEHIND["square"](c * c, k | {"centre": c}),
    "mean": lambda mu, k: BEHIND["centre"](k["x"] - mu, k),
    "x": lambda x, k: BEHIND["mean"](x.mean(axis=0), k | {"x": x}),
    "gamma": lambda g, k: BEHIND["normalise"](k["normalise"], k | {"gamma": g}),
    "beta": lambda b, k: BEHIND["normalise"](k["normalise"], k | {"beta": b}),
}


@pytest.mark.parametrize("name", BEHIND)
def test_every_gradient_is_that_of_the_loss(name: str) -> None:
    found = walk()
    known = {s.name: s.value for s in (*found.inputs, *found.stages)} | {"dy": numbers()[3]}
    value = known[name]
    step = 1e-6
    for index in np.ndindex(value.shape):
        up, down = value.copy(), value.copy()
        up[index] += step
        down[index] -= step
        slope = (BEHIND[name](up, known) - BEHIND[name](down, known)) / (2 * step)
        assert found[name].gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_every_value_has_the_right_shape_and_order(xp: Any) -> None:
    found = walk(xp)
    assert tuple(s.name for s in found.stages) == STAGES
    assert tuple(s.name for s in found.inputs) == ("x", "gamma", "beta")
    for stage in (*found.inputs, *found.stages):
        assert stage.gradient.shape == stage.value.shape
    x = numbers()[0]
    np.testing.assert_allclose(to_host(found["variance"].value), x.var(axis=0), rtol=1e-12)


def test_lists_and_other_dtypes() -> None:
    found = batchnorm([[1, 2], [3, 5]], [1, 1], [0, 0], [[1, 0], [0, 0]])
    assert found["x"].value.dtype == np.float64
    assert found.difference < 1e-12
    single = batchnorm(*(a.astype(np.float32) for a in numbers()))
    assert single["x"].gradient.dtype == np.float32
    assert single.difference < 1e-5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: np.ones((1, 3))}, "2 rows at least, got (1, 3)"),
        ({0: np.ones(3)}, "(batch, features)"),
        ({1: np.ones(4)}, "gamma must have shape (3,)"),
        ({2: np.ones((1, 3))}, "beta must have shape (3,)"),
        ({3: np.ones((4, 3))}, "dy must have shape (5, 3) for x of shape (5, 3), got (4, 3)"),
    ],
)
def test_what_does_not_fit_is_told(change: dict[int, Any], words: str) -> None:
    given = [change.get(k, a) for k, a in enumerate(numbers())]
    with pytest.raises(ValueError, match=re.escape(words)):
        batchnorm(*given)


def test_two_devices_are_refused(xp: Any) -> None:
    if xp is np:
        pytest.skip("there is one device only")
    x, gamma, beta, dy = numbers()
    with pytest.raises(DeviceError):
        batchnorm(xp.asarray(x), gamma, beta, dy)


def test_the_text_has_every_stage_and_number(xp: Any) -> None:
    found = walk(xp)
    text = str(found)
    for stage in (*found.inputs, *found.stages):
        assert f"\n{stage.name}: {stage.formula}" in text
        assert stage.back in text
        for array in (stage.value, stage.gradient):
            assert f"{to_host(array).reshape(-1)[-1]:.4g}" in text
    assert "largest difference" in text
    with pytest.raises(KeyError, match="no stage 'nothing'; there are x, gamma"):
        found["nothing"]


def test_the_picture(xp: Any, tmp_path: Path) -> None:
    found = walk(xp, 4, 2)
    found.save(tmp_path / "walk.svg")
    root = ElementTree.parse(tmp_path / "walk.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    stages = {g.get("id"): [t.text for t in g.iter(f"{space}text")] for g in root.iter(f"{space}g")}
    assert stages.keys() == {"x", "gamma", "beta", *STAGES}
    for name, words in stages.items():
        size = found[name].value.size
        assert len(words) == 3 + 2 * size
        shown = [float(w.replace("−", "-")) for w in [*words[2 : 2 + size], *words[-size:]]]
        wanted = [to_host(found[name].value), to_host(found[name].gradient)]
        np.testing.assert_allclose(shown, np.concatenate([a.ravel() for a in wanted]), rtol=6e-3)
    with pytest.raises(ValueError, match=r"must end in \.svg"):
        found.save(tmp_path / "walk.png")


def test_a_large_batch_is_shown_in_part(tmp_path: Path) -> None:
    walk(np, 30, 7).save(tmp_path / "walk.svg")
    text = (tmp_path / "walk.svg").read_text("utf-8")
    assert "the first 8 of 30 rows, 4 of 7 features" in text

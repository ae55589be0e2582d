"""The pictures: a line for every optimizer, the same bytes each time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare import charts, style
from gpunet.study.compare.curves import ceiling, curve, rate_span, sensitivity
from gpunet.study.compare.runs import Result
from gpunet.study.compare.summary import Comparison, compare

Make = Callable[..., Result]
# Machado, Oliveira and Fernandes 2009, severity 1: protan, deutan, tritan, in linear RGB.
VISIONS = (
    np.eye(3),
    np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
)
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


@pytest.fixture
def comparison(make: Make) -> Comparison:
    results = [
        make(name, None if name == "cocob" else lr, seed, loss=0.4 + 0.1 * seed + lr)
        for name in OPTIMIZERS
        for lr in ((0.1,) if name == "cocob" else (0.1, 1.0))
        for seed in (0, 1)
    ]
    return compare(results, len(results))


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.clip(XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.0888], 1e-9, None)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    ("palette", "ground"), [(style.ON_LIGHT, "#ffffff"), (style.ON_DARK, "#1f2229")]
)
def test_colours_stay_apart_for_everyone(palette: tuple[str, ...], ground: str) -> None:
    for a, b in itertools.combinations(palette, 2):
        for vision in VISIONS:
            assert math.dist(lab(vision @ linear(a)), lab(vision @ linear(b))) > 35, (a, b)
    for colour in palette:
        light, dark = sorted(XYZ[1] @ linear(c) + 0.05 for c in (colour, ground))[::-1]
        assert light / dark >= 3, f"{colour} on {ground}"


def test_every_optimizer_looks_different() -> None:
    styles = [style.style(name) for name in OPTIMIZERS]
    assert len({(s.light, s.dash) for s in styles}) == len(styles)
    assert len({(s.dark, s.dash) for s in styles}) == len(styles)


def test_what_is_drawn(make: Make) -> None:
    found = compare([make(seed=0, loss=0.4), make(seed=1, loss=0.6)], 2)
    [summary] = found.summaries
    assert [(p.x, p.mean, p.low, p.high) for p in curve(summary, "valid_loss")] == [
        (0, 2, 2, 2),
        (1, 1.5, 1.5, 1.5),
        (2, 0.5, 0.4, 0.6),
    ]
    assert curve(summary, "valid_error")[2].mean == pytest.approx(0.1)
    assert [(p.x, p.mean) for p in sensitivity(summary)] == [(0.01, 0.5)]
    assert (ceiling(found), rate_span(found)) == (3.0, (0.01, 0.01))
    assert rate_span(compare([make("cocob", None)], 1)) == (1.0, 1.0)


def test_a_curve_ends_where_a_seed_is_not_finite(make: Make) -> None:
    [summary] = compare([make(seed=0), make(seed=1, train=(2.0, math.inf, 1.0))], 2).summaries
    assert [p.x for p in curve(summary, "train_loss")] == [0]


def test_pictures(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    paths = charts.save_pictures(comparison, "a $ title", tmp_path)
    assert [path.name for path in paths] == ["compare.png", "compare.svg"]
    first = [path.read_bytes() for path in paths]
    assert first[0].startswith(b"\x89PNG")
    assert b"</svg>" in first[1]
    charts.save_pictures(comparison, "a $ title", tmp_path)
    assert [path.read_bytes() for path in paths] == first


def test_both_charts_hold_every_optimizer(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    curves, rates = charts.draw_comparison(comparison, "title").axes
    names = {line.get_label().split(" (")[0] for line in curves.lines}
    assert names == {kind.__name__ for kind in OPTIMIZERS.values()}
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in curves.lines}
    assert len(looks) == len(OPTIMIZERS)
    marks = [line for line in rates.lines if line.get_marker() == "o"]
    assert len(marks) == len(OPTIMIZERS) - 1
    assert len(rates.lines) == 2 * len(OPTIMIZERS) - 1

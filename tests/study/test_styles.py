"""gpunet.study.styles: every optimizer looks different, for every reader."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gpunet.optim import OPTIMIZERS
from gpunet.study import styles
from gpunet.study.styles import style

# Machado, Oliveira and Fernandes 2009, severity 1: protan, deutan, tritan, in linear RGB.
VISIONS = (
    np.eye(3),
    np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
    np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    np.array([[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]]),
)
XYZ = np.array([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]])


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = np.clip(XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.0888], 1e-9, None)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    ("palette", "ground"), [(styles.ON_LIGHT, "#ffffff"), (styles.ON_DARK, "#1f2229")]
)
def test_colours_stay_apart_for_everyone(palette: tuple[str, ...], ground: str) -> None:
    for a, b in itertools.combinations(palette, 2):
        for vision in VISIONS:
            assert math.dist(lab(vision @ linear(a)), lab(vision @ linear(b))) > 35, (a, b)
    for colour in palette:
        light, dark = sorted(XYZ[1] @ linear(c) + 0.05 for c in (colour, ground))[::-1]
        assert light / dark >= 3, f"{colour} on {ground}"


def test_every_optimizer_looks_different() -> None:
    found = [style(name) for name in OPTIMIZERS]
    assert len({(s.light, s.dash) for s in found}) == len(found)
    assert len({(s.dark, s.dash) for s in found}) == len(found)
    assert [style(name).label for name in ("sgd", "adam", "cocob")] == ["SGD", "Adam", "COCOB"]
    assert [style(name).dash for name in styles.FIRST] == [()] * 6
    assert style("mine") == style("sgd")._replace(label="mine")


def test_a_dash_is_as_long_in_matplotlib_as_in_a_browser() -> None:
    assert style("sgd").line() == {"color": styles.ON_LIGHT[0], "linestyle": "-", "linewidth": 1.6}
    dashed = style("nesterov")
    _, lengths = dashed.line(width=2.0)["linestyle"]
    assert [2.0 * n for n in lengths] == list(dashed.dash) != []

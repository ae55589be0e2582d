"""gpunet.study.styles: every optimizer looks different, for every reader."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

from gpunet.colours import COLOURS, GREY
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


def contrast(a: str, b: str) -> float:
    """Of WCAG 2: 1 for equal colours, 21 for black on white."""
    light, dark = sorted(XYZ[1] @ linear(c) + 0.05 for c in (a, b))[::-1]
    return float(light / dark)


def difference(a: str, b: str) -> float:
    """CIE76, the least of what readers see with all cones, or without one of the three kinds."""
    return min(math.dist(lab(v @ linear(a)), lab(v @ linear(b))) for v in VISIONS)


GROUNDS = (styles.LIGHT["paper"], styles.DARK["paper"])
RAMP = [colour for count in range(1, 12) for colour in styles.ramp(count)]


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("colour", sorted({*COLOURS, GREY, *RAMP}))
def test_a_line_is_seen_on_either_ground(colour: str, ground: str) -> None:
    assert contrast(colour, ground) >= 3


def test_colours_stay_apart_for_everyone() -> None:
    for a, b in itertools.combinations(COLOURS, 2):
        assert difference(a, b) >= 30, (a, b)


def test_a_check_of_colours_can_fail() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21, rel=1e-3)
    assert (
        difference("#ff0000", "#00a000")
        < 30
        < math.dist(lab(linear("#ff0000")), lab(linear("#00a000")))
    )  # green and red, for those who do not tell them apart


@pytest.mark.parametrize("theme", [styles.LIGHT, styles.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("words", ["ink", "soft", "accent", "back", "warn"])
def test_words_can_be_read(theme: dict[str, str], words: str) -> None:
    for ground in ("paper", "panel"):
        assert contrast(theme[words], theme[ground]) >= 4.5, ground


def test_light_and_dark_name_the_same_things() -> None:
    assert list(styles.LIGHT) == list(styles.DARK)
    assert styles.variables("svg").count("--ink:") == 2


def test_no_other_colour_is_in_the_pictures() -> None:
    """One palette: whoever draws takes colours from there."""
    root = Path(__file__).resolve().parents[2]
    apart = {"colours.py", "styles.py"}
    for folder in ("gpunet", "examples", "benchmarks", "docs"):
        for kind in ("py", "html", "css", "js"):
            for file in (root / folder).rglob(f"*.{kind}"):
                if file.name in apart or "testing" in file.parts:
                    continue
                found = re.findall(r"#[0-9a-fA-F]{6}\b", file.read_text("utf-8"))
                known = {"#ffffff", "#000000"}  # as matplotlib writes white and black
                assert {c for c in found if c not in known} == set(), file.relative_to(root)


def test_a_ramp_goes_from_end_to_end() -> None:
    assert styles.ramp(0) == []
    assert styles.ramp(1) == [COLOURS[0]]
    assert styles.ramp(3) == [COLOURS[0], COLOURS[5], COLOURS[4]]
    assert len(set(styles.ramp(8))) == 8


def test_every_optimizer_looks_different() -> None:
    found = [style(name) for name in (*OPTIMIZERS, *styles.SECOND_ORDER)]
    assert len({(s.colour, s.dash) for s in found}) == len(found)
    assert [style(name).label for name in ("sgd", "adam", "cocob")] == ["SGD", "Adam", "COCOB"]
    assert [style(name).dash for name in styles.FIRST] == [()] * 6
    assert style("mine") == style("sgd")._replace(label="mine")


def test_a_dash_is_as_long_in_matplotlib_as_in_a_browser() -> None:
    assert style("sgd").line() == {"color": COLOURS[0], "linestyle": "-", "linewidth": 1.6}
    dashed = style("nesterov")
    _, lengths = dashed.line(width=2.0)["linestyle"]
    assert [2.0 * n for n in lengths] == list(dashed.dash) != []

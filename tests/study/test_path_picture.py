"""gpunet.study.path_picture: what is in the picture, and that it can be written."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.path_picture import draw_paths, save_picture
from gpunet.study.paths import descend

NAMES = ("sgd", "adam", "cocob")


def lines(axes: object) -> list[np.ndarray]:
    return [np.column_stack(line.get_data()) for line in axes.get_lines()]  # type: ignore[attr-defined]


def has(axes: object, points: np.ndarray) -> bool:
    return any(k.shape == points.shape and np.allclose(k, points) for k in lines(axes))


def test_paths_lie_over_contours() -> None:
    pytest.importorskip("matplotlib")
    bowl = LANDSCAPES["bowl"]
    paths = [descend(bowl, name, steps=10) for name in NAMES]
    figure = draw_paths(bowl, paths)
    (axes,) = figure.axes
    assert all(has(axes, path.points) for path in paths)
    assert (axes.get_xlim(), axes.get_ylim()) == bowl.window
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0].startswith("SGD, lr 0.95: f = ")
    assert texts[2].startswith("COCOB, no lr: f = ")


def test_a_curve_has_its_points_above_and_its_steps_below() -> None:
    pytest.importorskip("matplotlib")
    sinc = LANDSCAPES["sinc"]
    path = descend(sinc, "sgd", steps=10)
    above, below = draw_paths(sinc, [path]).axes
    assert has(above, np.column_stack([path.points, path.values]))
    assert has(below, np.column_stack([path.points, np.arange(11)]))


@pytest.mark.parametrize("name", ["bowl", "sinc"])
def test_a_diverged_path_is_drawn_and_told(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bowl = LANDSCAPES[name]
    path = descend(LANDSCAPES["bowl"], "sgd", lr=5.0, steps=2000)
    if name == "sinc":  # a point that is far away, for a curve
        path = descend(bowl, "rmsprop", (2,), lr=1e9, steps=3)
    save_picture(bowl, [path], tmp_path / "far.png")
    text = draw_paths(bowl, [path]).legends[0].get_texts()[0].get_text()
    assert ("diverged after" in text) if name == "bowl" else text.endswith(", outside")


def test_files_are_what_their_names_say_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bowl = LANDSCAPES["bowl"]
    paths = [descend(bowl, "sgd", steps=5)]
    for name in ("one.png", "one.svg", "two.svg"):
        save_picture(bowl, paths, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "one.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg, \.pdf"):
        save_picture(bowl, paths, tmp_path / "one.jpg")


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunet.study.pictures.can_plot", lambda: False)
    with pytest.raises(ImportError, match=r"pip install 'gpunet\[plot\]'"):
        draw_paths(LANDSCAPES["bowl"], [descend(LANDSCAPES["bowl"], "sgd")])


def test_importing_needs_no_matplotlib() -> None:
    import subprocess

    code = (
        "import sys, gpunet.study.path_picture, gpunet.study.loss_surface, gpunet.study.animation, "
        "gpunet.commands.landscape; sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

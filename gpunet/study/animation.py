"""Paths over a landscape as an animation: one HTML file that needs no network and no matplotlib."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from gpunet.files import write_atomically
from gpunet.study.contours import heights, levels
from gpunet.study.landscapes import Landscape
from gpunet.study.paths import Descent, best, longest_first
from gpunet.study.styles import style, themes
from gpunet.study.words import language, of_script, say, template

GRID = (121, 91)
CURVE = 601
SECONDS = 8.0  # a whole animation, at the middle speed


def save_animation(
    landscape: Landscape, paths: Sequence[Descent], path: str | os.PathLike[str]
) -> None:
    """Write `animation(landscape, paths)` atomically."""
    write_atomically(path, animation(landscape, paths).encode())


def animation(landscape: Landscape, paths: Sequence[Descent]) -> str:
    """The page: play, pause, step, speed and a slider; a legend switches paths on and off.

    ValueError without a path.
    """
    if not paths:
        raise ValueError("an animation needs at least one path")
    text = files("gpunet.study").joinpath("animation.html").read_text("utf-8")
    # "<" would let a text end the script element that holds the data.
    data = json.dumps(
        _data(landscape, paths) | {"words": of_script(text)}, separators=(",", ":"), allow_nan=False
    )
    title = html.escape(f"{landscape.name}: {landscape.formula}")
    colours = themes(":root[data-theme=light]", ":root[data-theme=dark]")
    parts = {
        "title": title,
        "data": data.replace("<", "\\u003c"),
        "colours": colours,
        "language": language(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template(text))


def _data(landscape: Landscape, paths: Sequence[Descent]) -> dict[str, Any]:
    """All that the page draws, numbers to five digits."""
    steps = max(1, *(len(path) for path in paths))
    data = {
        "name": landscape.name,
        "formula": landscape.formula,
        "lesson": say(landscape.lesson),
        "dim": landscape.dim,
        "window": landscape.window,
        "steps": steps,
        "rate": max(steps / SECONDS, 3.0),
        "paths": [_path(path, best(paths)) for path in paths],
        "order": [list(paths).index(path) for path in longest_first(paths)],
    }
    ground = _ground(landscape) if landscape.dim == 2 else _curve(landscape)
    return data | ground


def _ground(landscape: Landscape) -> dict[str, Any]:
    values = heights(landscape, *GRID)
    return {
        "columns": GRID[0],
        "rows": GRID[1],
        "heights": _short(values.ravel()),
        "levels": _short(levels(values)),
        "minima": landscape.minima,
    }


def _curve(landscape: Landscape) -> dict[str, Any]:
    values = heights(landscape, CURVE)
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low)
    return {
        "heights": _short(values),
        "range": _short([low - room, high + room]),
        "minima": [_short([*m, landscape.value(m)]) for m in landscape.minima],
    }


def _path(path: Descent, shown: Sequence[Descent]) -> dict[str, Any]:
    look = style(path.optimizer)
    return {
        "label": look.label,
        "rate": say("no lr" if path.lr is None else f"lr {path.lr:g}"),
        "colour": look.colour,
        "shown": path in shown,
        "dash": look.dash,
        "points": [_short(point) for point in path.points],
        "values": _short(path.values),
        "diverged": path.diverged,
    }


def _short(numbers: Iterable[Any]) -> list[float]:
    return [float(f"{number:.5g}") for number in numbers]

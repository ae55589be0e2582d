"""The walk through BatchNorm as one SVG: the graph, with a small matrix at every stage."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.backend import to_host
from gpunet.colours import COLOURS
from gpunet.study import svg
from gpunet.study.batchnorm_stage import CLOSED_FORM, Stage
from gpunet.study.words import say

ROWS, FEATURES = 8, 4  # what is shown of a larger batch
CELL_WIDTH, CELL_HEIGHT = 62.0, 18.0
HEAD, GAP, MARGIN = 36.0, 26.0, 24.0  # above a matrix; between two of one stage; around all
POSITIVE, NEGATIVE = COLOURS[:2]

Point = tuple[float, float]

# Where the middle of each stage lies, in column widths, on three tracks.
ABOVE = {"mean": 1.2, "square": 2.75, "variance": 3.95, "root": 5.15}
MIDDLE = {"x": 0.5, "centre": 1.9, "normalise": 5.85, "scale": 7.05, "shift": 8.25}
BELOW = {"gamma": 7.05, "beta": 8.25}
STRAIGHT = (
    ("x", "centre"),
    ("centre", "normalise"),
    ("normalise", "scale"),
    ("scale", "shift"),
    ("square", "variance"),
    ("variance", "root"),
)
RISING = (("x", "mean"), ("centre", "square"))
FALLING = (("mean", "centre"), ("root", "normalise"))
UPWARD = (("gamma", "scale"), ("beta", "shift"))

SIGNS = {
    "sum": "Σ",
    "sqrt": "√",
    "gamma": "γ",
    "beta": "β",
    "mu": "μ",
    "eps": "ε",
    "^2": "²",
    "- ": "− ",
}

STYLE = f"""
text {{ font-family: {svg.SANS}; fill: var(--ink); font-size: 12px }}
.title {{ font-size: 19px; font-weight: 600 }}
.name {{ font-size: 13px; font-weight: 600 }}
.number {{ font-family: {svg.MONO}; font-size: 10.5px }}
.back {{ fill: var(--back) }}
.forward-line {{ fill: none; stroke: var(--ink); stroke-width: 1.4 }}
.back-line {{ fill: none; stroke: var(--back); stroke-width: 1.2; stroke-dasharray: 4 3 }}
"""


def save_picture(
    stages: Iterable[Stage], differences: Mapping[str, float], path: str | os.PathLike[str]
) -> None:
    """Draw and write, atomically: inputs and stages, and what was found beside the closed form.

    ValueError for a name that does not end in .svg.
    """
    svg.save(path, _Picture(stages, differences).bytes())


class _Picture:
    def __init__(self, stages: Iterable[Stage], differences: Mapping[str, float]) -> None:
        self.stages = {stage.name: stage for stage in stages}
        self.differences = differences
        self.batch, self.features = self.stages["x"].value.shape
        shown = min(self.batch, ROWS), min(self.features, FEATURES)
        self.column = max(148.0, shown[1] * CELL_WIDTH + 14)
        self.tall, self.flat = (
            HEAD + 2 * rows * CELL_HEIGHT + GAP for rows in (shown[0], 1)
        )  # of a stage that holds the batch, and of one that holds a row
        top = 74 + self.tall / 2
        middle = top + self.tall + 62
        below = middle + self.tall / 2 + 62 + self.flat / 2
        self.height = below + self.flat / 2 + MARGIN
        tracks = ((ABOVE, top), (MIDDLE, middle), (BELOW, below))
        self.places = {
            name: (MARGIN + at * self.column * 1.08, y)
            for part, y in tracks
            for name, at in part.items()
        }
        self.width = self.places["shift"][0] + self.column / 2 + MARGIN

    def bytes(self) -> bytes:
        arrows = svg.element(
            "defs",
            _arrowhead("to", "var(--ink)", "auto"),
            _arrowhead("from", "var(--back)", "auto-start-reverse"),
        )
        stages = map(self._stage, self.stages.values())
        inside = [arrows, *self._words(), *self._arrows(), *stages]
        return svg.document(self.width, self.height, STYLE, inside)

    def _words(self) -> Iterator[str]:
        yield svg.text(MARGIN, 34, say("BatchNorm, stage by stage"), class_="title")
        words = [
            "Above in each stage its value, below in red the gradient of the loss by it.",
            "One column a feature; blue is positive, orange negative.",
        ]
        if self.batch > ROWS or self.features > FEATURES:
            words.append(
                f"Shown: the first {min(self.batch, ROWS)} of {self.batch} rows, "
                f"{min(self.features, FEATURES)} of {self.features} features."
            )
        yield svg.text(MARGIN, 54, " ".join(map(say, words)))
        x, y = MARGIN, self.places["gamma"][1] - self.flat / 2 + 14
        lines = [
            ("", "Where two dashed arrows meet, the gradients add up."),
            ("", "All of it in closed form:"),
            ("number", _pretty(CLOSED_FORM)),
            ("", "Largest difference between stages, closed form and gpunet's batch_norm:"),
            (
                "number",
                ", ".join(f"{name} {svg.number(v, 2)}" for name, v in self.differences.items()),
            ),
        ]
        for k, (kind, line) in enumerate(lines):
            yield svg.text(x, y + 20 * k, say(line), class_=kind or None)

    # Stages

    def _size(self, name: str) -> tuple[float, float]:
        """Width and height of a stage's numbers."""
        value = self.stages[name].value
        columns = min(value.shape[-1], FEATURES)
        return columns * CELL_WIDTH, self.tall if value.ndim > 1 else self.flat

    def _stage(self, stage: Stage) -> str:
        x, y = self.places[stage.name]
        width, height = self._size(stage.name)
        top = y - height / 2
        values = to_host(stage.value).reshape(-1, self.features)
        gradients = to_host(stage.gradient).reshape(-1, self.features)
        rows = min(len(values), ROWS)
        below = top + HEAD + rows * CELL_HEIGHT + GAP
        return svg.element(
            "g",
            svg.text(x, top + 13, say(stage.name), class_="name", text_anchor="middle"),
            svg.text(
                x, top + 29, _pretty(say(stage.formula)), class_="number", text_anchor="middle"
            ),
            _matrix(values, x - width / 2, top + HEAD),
            svg.text(
                x, below - 8, _pretty(say(stage.back)), class_="number back", text_anchor="middle"
            ),
            _matrix(gradients, x - width / 2, below, "number back"),
            id=stage.name,
        )

    # Arrows: the value forward in ink, the gradient back in red

    def _arrows(self) -> Iterator[str]:
        for name, other in STRAIGHT:
            (x, y), (x2, _) = self._edge(name, "right"), self._edge(other, "left")
            for shift, kind, marker in _WAYS:
                yield _line(f"M{x:.1f} {y + shift:.1f}H{x2:.1f}", kind, marker)
        for name, other in RISING:
            (x, y), (x2, y2) = self._edge(name, "top"), self._edge(other, "left")
            yield from _curve((x + 16, y), (x + 16, y2), (x2, y2))
        for name, other in FALLING:
            (x, y), (x2, y2) = self._edge(name, "right"), self._edge(other, "top")
            yield from _curve((x, y), (x2 - 16, y), (x2 - 16, y2), -1)
        for name, other in UPWARD:
            (x, y), (_, y2) = self._edge(name, "top"), self._edge(other, "bottom")
            for shift, kind, marker in _WAYS:
                yield _line(f"M{x + shift:.1f} {y:.1f}V{y2:.1f}", kind, marker)

    def _edge(self, name: str, side: str) -> Point:
        x, y = self.places[name]
        width, height = self._size(name)
        room = 7
        return {
            "left": (x - width / 2 - room, y),
            "right": (x + width / 2 + room, y),
            "top": (x, y - height / 2 - room),
            "bottom": (x, y + height / 2 + room),
        }[side]


_WAYS = ((-4, "forward-line", "to"), (4, "back-line", "from"))


def _curve(start: Point, corner: Point, end: Point, down: int = 1) -> Iterator[str]:
    """down: +1 or -1, by the way the curve bends, so that the two do not cross."""
    for shift, kind, marker in _WAYS:
        points = [f"{x + shift:.1f} {y + down * shift:.1f}" for x, y in (start, corner, end)]
        yield _line(f"M{points[0]}Q{points[1]} {points[2]}", kind, marker)


def _line(path: str, kind: str, marker: str) -> str:
    ends = {"marker_end": "url(#to)"} if marker == "to" else {"marker_start": "url(#from)"}
    return svg.element("path", d=path, class_=kind, **ends)


def _arrowhead(name: str, colour: str, orient: str) -> str:
    shape = svg.element("path", d="M0 0L8 4L0 8Z", fill=colour)
    box = {"viewBox": "0 0 8 8", "refX": 7, "refY": 4, "markerWidth": 6.5, "markerHeight": 6.5}
    return svg.element("marker", shape, id=name, orient=orient, markerUnits="userSpaceOnUse", **box)


def _matrix(values: np.ndarray[Any, Any], x: float, y: float, kind: str = "number") -> str:
    """Cells in the colour of their sign, the stronger the larger they are in this matrix."""
    values = values[:ROWS, :FEATURES]
    finite = abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    cells = []
    for (row, column), value in np.ndenumerate(values):
        left, top = x + column * CELL_WIDTH, y + row * CELL_HEIGHT
        strength = 0.06 + 0.26 * min(abs(float(value)) / largest, 1) if np.isfinite(value) else 0
        cells.append(
            svg.element(
                "rect",
                x=left + 1,
                y=top + 1,
                width=CELL_WIDTH - 2,
                height=CELL_HEIGHT - 2,
                rx=2,
                fill=POSITIVE if value >= 0 else NEGATIVE,
                fill_opacity=strength,
            )
        )
        words = svg.number(float(value))
        middle = left + CELL_WIDTH / 2
        cells.append(svg.text(middle, top + 13, words, class_=kind, text_anchor="middle"))
    return "".join(cells)


def _pretty(formula: str) -> str:
    """ASCII formulas as they are printed in books."""
    for plain, sign in SIGNS.items():
        formula = formula.replace(plain, sign)
    return formula

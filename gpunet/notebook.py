"""What objects look like in a notebook: tables and a line chart as HTML, from words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gpunet.colours import COLOURS

WIDTH, HEIGHT, LEFT, BOTTOM, ROOM = 460, 170, 54, 22, 12  # of a chart, in pixels

Number = float | None


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under its caption; numbers stand on the right. One that is too wide scrolls."""
    head = "".join(f"<th style='text-align:left'>{escape(word)}</th>" for word in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    words = f"<caption style='text-align:left'><b>{escape(caption)}</b></caption>"
    inside = f"{words}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div style='overflow-x:auto'><table>{inside}</table></div>"


def escape(words: str) -> str:
    from html import escape  # which loads the names of all characters

    return escape(words)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"<td>{value:.4g}</td>"
    if isinstance(value, int):
        return f"<td>{value:,}</td>"
    return f"<td style='text-align:left'>{escape('' if value is None else str(value))}</td>"


def chart(x: Sequence[float], lines: Mapping[str, Sequence[Number]]) -> str:
    """Lines over x as an SVG; "" where there is nothing to draw.

    lines: at most four, each as long as x; what is None or not finite is left out.
    """
    points = {name: _finite(x, y) for name, y in lines.items()}
    points = {name: found for name, found in points.items() if len(found) > 1}
    if not points:
        return ""
    ys = [y for found in points.values() for _, y in found]
    low, high = min(ys), max(ys)
    wide, tall = WIDTH - LEFT - ROOM, HEIGHT - BOTTOM - ROOM - 14
    first, last = min(x), max(x)

    def at(x: float, y: float) -> str:
        across = LEFT + wide * (x - first) / (last - first or 1)
        return f"{across:.1f},{ROOM + 14 + tall * (high - y) / (high - low or 1):.1f}"

    inside = [_text(LEFT - 6, ROOM + 18, f"{high:.3g}", "end")]
    inside.append(_text(LEFT - 6, ROOM + 14 + tall, f"{low:.3g}", "end"))
    inside += [_text(LEFT, HEIGHT - 6, f"{first:g}"), _text(LEFT + wide, HEIGHT - 6, f"{last:g}")]
    for k, (name, found) in enumerate(points.items()):
        colour, left = COLOURS[k], LEFT + k * 110
        path = " ".join(at(*point) for point in found)
        inside.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        inside.append(f"<rect x='{left}' y='4' width='10' height='10' fill='{colour}'/>")
        inside.append(_text(left + 14, 13, name, "start"))
    frame = f"<path d='M{LEFT} {ROOM + 14}v{tall}h{wide}' fill='none' stroke='currentColor'/>"
    size = f"width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}'"
    style = "style='max-width:100%;height:auto;font:11px sans-serif' fill='currentColor'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {style}>{frame}{''.join(inside)}</svg>"


def _finite(x: Sequence[float], y: Sequence[Number]) -> list[tuple[float, float]]:
    pairs = zip(x, y, strict=True)
    return [(a, b) for a, b in pairs if b is not None and math.isfinite(b)]


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}'>{escape(words)}</text>"

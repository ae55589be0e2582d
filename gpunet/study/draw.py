"""`gpunet.draw`: the tape behind a loss as an SVG that folds and unfolds in a browser."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files

from gpunet.colours import COLOURS, GREY
from gpunet.study import placing, svg
from gpunet.study.columns import wide
from gpunet.study.graph import Card, Graph, Group, graph_of
from gpunet.study.layering import layout
from gpunet.study.placing import Box, Placing, box
from gpunet.study.svg import ADVANCE
from gpunet.study.words import say
from gpunet.tensor import Tensor

LINE, SMALL, NAME = 14.0, 11.0, 13.0  # height of a line; font sizes of lines and of titles
INSET = 10.0  # from a card's edge to its words
SIDE_GAP, STACK_GAP = 30.0, 8.0  # between a card and its leaves; between these
MARGIN, LEAST = 16.0, 328.0  # around the graph; its least width, for the words above it

STYLE = f"""
text {{ font-family: {svg.SANS}; fill: var(--ink); font-size: {NAME:g}px }}
.heading {{ font-size: 19px; font-weight: 600 }}
.note {{ fill: var(--back) }}
.name {{ font-weight: 600 }}
.line {{ font-family: {svg.MONO}; font-size: {SMALL:g}px; white-space: pre }}
.shape, .saved, .summary text {{ fill: var(--soft) }}
.grad, .bad {{ fill: var(--back) }}
.box {{ fill: var(--paper); stroke: {GREY} }}
.layer .box {{ stroke: var(--accent); stroke-width: 1.4 }}
.parameter .box {{ fill: var(--panel); stroke: {COLOURS[1]} }}
.data .box {{ fill: var(--panel); stroke: {COLOURS[2]} }}
.frame {{ fill: var(--accent); fill-opacity: .06; stroke: var(--accent); stroke-opacity: .6 }}
.shut .frame {{ fill-opacity: .16 }}
.edge {{ fill: none; stroke: var(--soft); stroke-width: 1.3 }}
.toggle, .button {{ cursor: pointer }}
.toggle:hover .name, .button:hover {{ text-decoration: underline }}
.button {{ display: none; fill: var(--accent) }}
"""


class Drawing:
    """An SVG picture, shown as it is by a notebook."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def _repr_svg_(self) -> str:
        return self._data.decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it, atomically; as for `draw`."""
        svg.save(path, self._data)


def draw(
    loss: Tensor, path: str | os.PathLike[str] | None = None, *, depth: int | None = None
) -> Drawing:
    """Draw what was computed on the way to `loss`, as one SVG, and write it, atomically, to `path`
    if one is given.

    Ops with their shapes, and the parameters that they read, in a frame for each layer. A browser
    opens the file from the disk; a click on a frame's name folds it. Where loss.backward() has
    run, the parameters' gradients are there too. What lies between the ops the tape does not
    keep; to see its values and gradients, compute inside `watching`:

        with gn.study.watching():
            loss = loss_fn(model(x), t)
        loss.backward()
        gn.draw(loss, "graph.svg")

    Parameters are shown as they are now, so draw before the optimizer's step. The picture says
    what is missing in it, and how to get it. Reads every array it shows from the device.

    Args:
        loss: any tensor computed by recorded ops.
        path: ends in .svg. Without one the picture is only returned, for a notebook to show.
        depth: frames nested deeper than this start folded; None leaves all open.

    Raises:
        ValueError: `loss` was not computed by recorded ops; another ending; a negative depth.
        OSError: the folder is missing or not writable.
    """
    if depth is not None and depth < 0:
        raise ValueError(f"depth must be at least 0, got {depth}")
    drawing = Drawing(_Picture(graph_of(loss), loss, depth).bytes())
    if path is not None:
        drawing.save(path)
    return drawing


class _Picture:
    def __init__(self, graph: Graph, loss: Tensor, depth: int | None) -> None:
        self.graph, self.loss = graph, loss
        self.root = graph.root.key
        self.groups = [group for group in graph.groups() if group is not graph.root]
        self.cards = list(graph.root.cards())
        self.layout = layout(graph)
        self.boxes = {card.key: _card_box(card) for card in self.cards}
        self.folded = {group.key: _folded_box(group) for group in self.groups}
        self.closed = {g.key for g in self.groups if depth is not None and _depth(g) > depth}
        self.placing = Placing(self.layout, self.root, self.boxes, self.folded, self.closed)

    def bytes(self) -> bytes:
        whole = self.placing.boxes[self.root]
        graph_width = whole.left + whole.right
        width = max(graph_width, LEAST)
        words, header = self._words()
        # The script centres the graph in its own coordinates, so those of the axes are moved.
        shift = (width - graph_width) / 2
        self.placing.at = {k: (x + shift, y) for k, (x, y) in self.placing.at.items()}
        inside = [
            *words,
            svg.element(
                "g",
                *(self._group(group) for group in self.groups),
                *self._edges(),
                *(self._card(card) for card in self.cards),
                transform=f"translate({MARGIN:g} {header:g})",
            ),
            svg.element("script", self._data(header), id="graph", type="application/json"),
            f"<script><![CDATA[\n{_script()}]]></script>",
        ]
        return svg.document(width + 2 * MARGIN, header + whole.height + MARGIN, STYLE, inside)

    def _data(self, header: float) -> str:
        """What draw.js needs: keys, rows and sizes; no words, so nothing to escape."""
        constants = (placing.ROW_GAP, placing.ITEM_GAP, placing.LANE, placing.PAD, placing.TITLE)
        return json.dumps(
            {
                "rows": self.layout.rows,
                "lanes": sorted(self.layout.lanes),
                "ways": self.layout.ways,
                "parents": self.layout.parents,
                "cards": self.boxes,
                "folded": self.folded,
                "root": self.root,
                "closed": sorted(self.closed),
                "gaps": constants,
                "margin": MARGIN,
                "header": header,
                "least": LEAST,
            },
            separators=(",", ":"),
        )

    def _words(self) -> tuple[list[str], float]:
        """The lines above the graph, and where they end."""
        lines = [("heading", f"{self.graph.result.title} = {_value(self.loss)}", 24.0)]
        lines.append(("", say("value and grad: smallest, mean and largest element."), 20.0))
        for note in self.graph.notes:
            lines += [("note", line, 18.0) for line in textwrap.wrap(say(note), 46)]
        y, found = 14.0, []
        for kind, line, height in lines:
            y += height
            found.append(svg.text(MARGIN, y, line, class_=kind or None))
        y += 24
        for k, name in enumerate(("fold all", "unfold all")):
            found.append(
                svg.text(
                    MARGIN + 70 * k,
                    y,
                    say(name),
                    class_="button",
                    id=name.replace(" ", "-"),
                    role="button",
                    tabindex=0,
                )
            )
        return found, y + 20

    # Elements: each at its axis and upper end, by a transform that draw.js changes

    def _place(self, key: int) -> dict[str, str | None]:
        if key not in self.placing.at:
            return {"transform": None, "style": "display:none"}
        x, y = self.placing.at[key]
        return {"transform": f"translate({x:.2f} {y:.2f})", "style": None}

    def _group(self, group: Group) -> str:
        shut = group.key in self.closed
        around = self.placing.boxes.get(group.key, self.folded[group.key])
        return svg.element(
            "g",
            _frame(around),
            _toggle(group, around, shut),
            _contents(group, INSET - self.folded[group.key].left, shut),
            id=f"i{group.key}",
            class_="group shut" if shut else "group",
            **self._place(group.key),
        )

    def _card(self, card: Card) -> str:
        width, height = _size(card)
        top = self.boxes[card.key].top
        parts = [_box(card, -width / 2, top)]
        sizes = [_size(side) for side in card.sides]
        stack = sum(h for _, h in sizes) + STACK_GAP * (len(sizes) - 1)
        y = (self.boxes[card.key].height - stack) / 2
        for side, (w, h) in zip(card.sides, sizes, strict=True):
            x = -width / 2 - SIDE_GAP - w
            parts.append(svg.element("g", _box(side, x, y), class_=side.kind))
            end = min(max(y + h / 2, top + 6), top + height - 6)
            bend = f"H{x + w + 8:.1f}L{-width / 2 - 8:.1f} {end:.1f}H{-width / 2:.1f}"
            parts.append(_arrow(f"M{x + w:.1f} {y + h / 2:.1f}{bend}", "right"))
            y += h + STACK_GAP
        return svg.element(
            "g", *parts, id=f"i{card.key}", class_=f"card {card.kind}", **self._place(card.key)
        )

    def _edges(self) -> Iterator[str]:
        yield svg.element("defs", _arrowhead("right", 0), _arrowhead("down", 90))
        for k, way in enumerate(self.layout.ways):
            yield _arrow(self.placing.path(way), "down", id=f"e{k}")


def _script() -> str:
    return files("gpunet.study").joinpath("draw.js").read_text("utf-8")


def _arrowhead(name: str, degrees: int) -> str:
    """Turned by itself: a path's end may be a line of length 0, which has no direction."""
    return svg.element(
        "marker",
        svg.element("path", d="M0 0L8 4L0 8Z", fill="var(--soft)"),
        id=name,
        viewBox="0 0 8 8",
        refX=8,
        refY=4,
        markerWidth=7,
        markerHeight=7,
        markerUnits="userSpaceOnUse",
        orient=degrees,
    )


def _arrow(path: str, head: str, **attributes: object) -> str:
    return svg.element("path", d=path, class_="edge", marker_end=f"url(#{head})", **attributes)


# Cards


def _size(card: Card) -> tuple[float, float]:
    return _width(card.title, (words for _, words in card.lines)), 26 + LINE * len(card.lines)


def _width(title: str, lines: Iterable[str]) -> float:
    """Room for a bold title and lines in the monospace font."""
    widths = [wide(title) * NAME * ADVANCE, *(wide(line) * SMALL * ADVANCE for line in lines)]
    return max(widths) + 2 * INSET


def _card_box(card: Card) -> Box:
    """With the leaves at its left."""
    width, height = _size(card)
    sizes = [_size(side) for side in card.sides]
    left = width / 2 + (SIDE_GAP + max(w for w, _ in sizes) if sizes else 0)
    whole = max(height, sum(h for _, h in sizes) + STACK_GAP * (len(sizes) - 1))
    top = (whole - height) / 2
    return Box(left, width / 2, whole, top, top + height)


def _box(card: Card, x: float, y: float) -> str:
    width, height = _size(card)
    words = [svg.text(x + INSET, y + 18, card.title, class_="name")]
    for k, (kind, line) in enumerate(card.lines):
        kind = "grad" if line.startswith("grad") else kind
        words.append(svg.text(x + INSET, y + 33 + LINE * k, line, class_=f"line {kind}"))
    frame = svg.element("rect", class_="box", x=x, y=y, width=width, height=height, rx=5)
    return frame + "".join(words)


# Groups


def _frame(around: Box) -> str:
    return svg.element(
        "rect",
        class_="frame",
        x=-around.left,
        y=0,
        width=around.left + around.right,
        height=around.height,
        rx=8,
    )


def _toggle(group: Group, around: Box, shut: bool) -> str:
    """The sign and the name that fold the group."""
    words = svg.element(
        "text",
        svg.element("tspan", "▸" if shut else "▾", class_="sign"),
        svg.element("tspan", " " + escape(group.title), class_="name"),
        x=INSET,
        y=17,
    )
    return svg.element(
        "g",
        words,
        class_="toggle",
        role="button",
        tabindex=0,
        aria_expanded=str(not shut).lower(),
        transform=f"translate({-around.left:.2f} 0)",
    )


def _contents(group: Group, left: float, shut: bool) -> str:
    """The lines of a folded group; hidden in an open one."""
    lines = [
        svg.text(left, 32 + LINE * k, line, class_="line") for k, line in enumerate(_summary(group))
    ]
    return svg.element("g", *lines, class_="summary", style=None if shut else "display:none")


def _folded_box(group: Group) -> Box:
    lines = _summary(group)
    return box(_width("▸ " + group.title, lines), 26 + LINE * len(lines))


def _summary(group: Group) -> list[str]:
    """Its output, and how much is in it."""
    cards = list(group.cards())
    leaves = [side for card in cards for side in card.sides if side.kind == "parameter"]
    parameters = sum(leaf.size for leaf in leaves)
    output = next(words for kind, words in reversed(cards[-1].lines) if kind == "shape")
    ops = "1 op" if len(cards) == 1 else f"{len(cards)} ops"
    return [output, say(f"{ops}, {parameters:,} parameters" if parameters else ops)]


def _depth(group: Group) -> int:
    """1 for a group that lies in no other."""
    depth = 0
    outer: Group | None = group
    while outer is not None and outer.parent is not None:
        depth, outer = depth + 1, outer.parent
    return depth


def _value(loss: Tensor) -> str:
    if loss.size == 1:
        return svg.number(loss.item(), 5)
    return f"{'×'.join(map(str, loss.shape))} {loss.dtype}"

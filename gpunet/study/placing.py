"""Where everything goes, from the rows of `layering` and the sizes of cards, in pixels.

draw.js does the same in the browser when a group is folded; a test holds the two together.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from gpunet.study.layering import Layout

ROW_GAP, ITEM_GAP, LANE = 30.0, 26.0, 18.0  # between rows, between items, width of a lane
PAD, TITLE = 14.0, 24.0  # inside a group's frame; the height of its title

Parts = tuple[list[int], list[int], list[int]]  # of a row: lanes, what is between, lanes


class Box(NamedTuple):
    """Around an axis, on which edges arrive at `top` and leave at `bottom`."""

    left: float
    right: float
    height: float
    top: float
    bottom: float


def box(width: float, height: float) -> Box:
    return Box(width / 2, width / 2, height, 0.0, height)


class Placing:
    """boxes: what every visible item takes up. at: its axis and upper end.

    Args:
        cards: the boxes of cards. folded: the boxes of groups when folded.
        closed: the keys of the groups that are folded.
    """

    def __init__(
        self,
        layout: Layout,
        root: int,
        cards: dict[int, Box],
        folded: dict[int, Box],
        closed: set[int],
    ) -> None:
        self.layout, self.root, self.cards = layout, root, cards
        self.folded, self.closed = folded, closed
        self.boxes: dict[int, Box] = {}
        self.at: dict[int, tuple[float, float]] = {}
        self._offsets: dict[int, tuple[float, float]] = {}
        self._spans: dict[int, tuple[float, float]] = {}  # of an item's row, from its upper end
        self._measure(root)
        self._put(root, self.boxes[root].left, 0.0)

    def _measure(self, key: int) -> Box:
        found = self.cards.get(key) or (self.folded[key] if key in self.closed else self._open(key))
        self.boxes[key] = found
        return found

    def _open(self, key: int) -> Box:
        """A group's rows below each other, the middle of a row's items on the group's axis."""
        framed = key != self.root
        y = TITLE if framed else 0.0
        left = right = self.folded[key].left - PAD if framed else 0.0
        rows = [self._split(row) for row in self.layout.rows[key]]
        for before, row, after in rows:
            whole = [*before, *row, *after]
            height = self._measure_row(whole)
            ends = self._put_row(row, y, height)
            for k in whole:
                over = (height - self.boxes[k].height) / 2
                self._offsets.setdefault(k, (0.0, y))
                self._spans[k] = -over, height - over
            left, right = max(left, ends[0]), max(right, ends[1])
            y += height + ROW_GAP
        left, right = self._put_lanes(rows, left, right)
        y -= ROW_GAP
        if not framed:
            return Box(left, right, y, 0.0, y)
        return Box(left + PAD, right + PAD, y + PAD, 0.0, y + PAD)

    def _measure_row(self, row: list[int]) -> float:
        """Its height, that of the highest item; a lane is as high as that."""
        lanes = self.layout.lanes
        height = max(self._measure(k).height for k in row if k not in lanes)
        for k in lanes.intersection(row):
            self.boxes[k] = Box(LANE / 2, LANE / 2, height, 0.0, height)
        return height

    def _put_row(self, row: list[int], y: float, height: float) -> tuple[float, float]:
        """What lies between its outer lanes, side by side; how far it reaches left and right."""
        x, axes = 0.0, {}
        for k in row:
            axes[k] = x + self.boxes[k].left
            x += self.boxes[k].left + self.boxes[k].right + ITEM_GAP
        items = [axes[k] for k in row if k not in self.layout.lanes]
        middle = sum(items) / len(items)
        for k in row:
            self._offsets[k] = axes[k] - middle, y + (height - self.boxes[k].height) / 2
        return middle, x - ITEM_GAP - middle

    def _put_lanes(self, rows: list[Parts], left: float, right: float) -> tuple[float, float]:
        """Lanes at the ends of rows lie outside of all rows, so that they run straight."""
        for before, _, after in rows:
            for n, k in enumerate(reversed(before)):
                self._offsets[k] = -left - ITEM_GAP / 2 - n * LANE, self._offsets[k][1]
            for n, k in enumerate(after):
                self._offsets[k] = right + ITEM_GAP / 2 + n * LANE, self._offsets[k][1]
        left += LANE * max(len(before) for before, _, _ in rows)
        return left, right + LANE * max(len(after) for _, _, after in rows)

    def _split(self, row: list[int]) -> Parts:
        """The lanes at its left end, what is between, and those at its right end."""
        items = [k for k, key in enumerate(row) if key not in self.layout.lanes]
        return row[: items[0]], row[items[0] : items[-1] + 1], row[items[-1] + 1 :]

    def _put(self, key: int, x: float, y: float) -> None:
        self.at[key] = x, y
        if key in self.cards or key in self.closed:
            return
        for row in self.layout.rows.get(key, ()):
            for k in row:
                dx, dy = self._offsets[k]
                self._put(k, x + dx, y + dy)

    # Edges

    def path(self, way: list[int]) -> str:
        """An edge as SVG path data, "" if it lies in a folded group.

        It turns between two rows only; beside anything else in its row it runs straight.
        """
        first, last = self._visible(way[0]), self._visible(way[-1])
        if first == last:
            return ""
        keys = [first, *(k for k in way[1:-1] if k in self.at), last]
        x, y = self.at[first]
        parts = [f"M{x:.1f} {y + self.boxes[first].bottom:.1f}"]
        for a, b in pairwise(keys):
            outer_a, outer_b = self._siblings(a, b)
            x, start = self.at[a][0], self.at[outer_a][1] + self._spans[outer_a][1]
            x2, end = self.at[b][0], self.at[outer_b][1] + self._spans[outer_b][0]
            middle = (start + end) / 2
            parts.append(f"V{start:.1f}")
            parts.append(f"C{x:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {end:.1f}")
        parts.append(f"V{self.at[last][1] + self.boxes[last].top:.1f}")
        return "".join(parts)

    def _visible(self, key: int) -> int:
        """The item, or the folded group that hides it."""
        while key not in self.at:
            key = self.layout.parents[key]
        return key

    def _siblings(self, a: int, b: int) -> tuple[int, int]:
        """What holds the one and what holds the other, in the innermost group around both."""
        parents = self.layout.parents
        inside: dict[int, int] = {}
        while a in parents:
            inside[parents[a]] = a
            a = parents[a]
        while parents[b] not in inside:
            b = parents[b]
        return inside[parents[b]], b

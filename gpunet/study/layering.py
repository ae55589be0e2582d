"""Rows for a drawing of a directed graph, after Sugiyama, Tagawa & Toda (1981).

Each group is a drawing of its own: its children in rows by longest path, and lanes, which keep a
way free for an edge that passes a row. Within a row the order follows the barycentre of the
neighbours. Nothing here knows of sizes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import count, pairwise
from typing import NamedTuple

from gpunet.study.graph import Card, Graph, Group

SWEEPS = 4
Item = Card | Group


class Layout(NamedTuple):
    """rows: of each group (by its key), from top to bottom and left to right, keys of children and
    lanes. lanes: the keys that are lanes. parents: the group that holds a child or a lane. ways: of
    each edge, its keys from card to card.
    """

    rows: dict[int, list[list[int]]]
    lanes: set[int]
    parents: dict[int, int]
    ways: list[list[int]]


def layout(graph: Graph) -> Layout:
    """Rows, lanes and order for every group of the graph."""
    return _Layering(graph).layout()


class _Layering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.groups = list(graph.groups())
        items = [child for group in self.groups for child in group.children]
        self.parents = {child.key: g.key for g in self.groups for child in g.children}
        self.keys = count(1 + max(item.key for item in [graph.root, *items]))
        self.lanes: dict[tuple[int, int, int], int] = {}  # (group, source, row): its key
        self.rows: dict[int, list[list[int]]] = {}
        self.row_of: dict[int, int] = {}

    def layout(self) -> Layout:
        inner: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for source, target in self.graph.edges:
            group, a, b = _meeting(source, target)
            inner[group.key].add((a.key, b.key))
        for group in self.groups:
            self._rows(group, inner[group.key])
        ways = [self._way(source, target) for source, target in self.graph.edges]
        links: dict[int, set[int]] = defaultdict(set)
        for way in ways:
            for one, other in self._neighbours(way):
                links[one].add(other)
                links[other].add(one)
        for group in self.groups:
            order(self.rows[group.key], links)
        return Layout(self.rows, set(self.lanes.values()), self.parents, ways)

    def _rows(self, group: Group, edges: set[tuple[int, int]]) -> None:
        """Longest path from the top; what nothing leads to goes just above its first reader."""
        keys = [child.key for child in group.children]
        row = longest_paths(keys, edges)
        for key in keys:
            readers = [row[b] for a, b in edges if a == key]
            if readers and not any(b == key for _, b in edges):
                row[key] = min(readers) - 1
        rows: list[list[int]] = [[] for _ in range(max(row.values(), default=0) + 1)]
        for key in keys:
            rows[row[key]].append(key)
        self.rows[group.key] = rows
        self.row_of |= row

    def _way(self, source: Card, target: Card) -> list[int]:
        """Out of the groups around the source, across the one around both, into the target's."""
        group, a, b = _meeting(source, target)
        way = [source.key]
        item: Item = source
        while item is not a:
            assert item.parent is not None
            bottom = len(self.rows[item.parent.key])
            way += self._pass(item.parent, source, self.row_of[item.key] + 1, bottom)
            item = item.parent
        way += self._pass(group, source, self.row_of[a.key] + 1, self.row_of[b.key])
        inward: list[Item] = []
        item = target
        while item is not b:
            inward.append(item)
            assert item.parent is not None
            item = item.parent
        for item in reversed(inward):
            assert item.parent is not None
            way += self._pass(item.parent, source, 0, self.row_of[item.key])
        return [*way, target.key]

    def _pass(self, group: Group, source: Card, start: int, stop: int) -> list[int]:
        """A lane in each of the rows; edges from one source share it."""
        keys = []
        for row in range(start, stop):
            place = (group.key, source.key, row)
            if place not in self.lanes:
                lane = self.lanes[place] = next(self.keys)
                self.rows[group.key][row].append(lane)
                self.parents[lane] = group.key
            keys.append(self.lanes[place])
        return keys

    def _neighbours(self, way: list[int]) -> Iterable[tuple[int, int]]:
        """Pairs that follow each other, and the groups around the ends beside what they meet."""
        for a, b in pairwise(way):
            for x in self._with_groups(a):
                for y in self._with_groups(b):
                    yield x, y

    def _with_groups(self, key: int) -> Iterable[int]:
        yield key
        while key in self.parents:
            key = self.parents[key]
            yield key


def longest_paths(keys: list[int], edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """For each key how many edges the longest path to it has. The graph has no circles."""
    into: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        into[b].append(a)
    row: dict[int, int] = {}
    waiting = list(reversed(keys))
    while waiting:
        key = waiting[-1]
        open_ones = [a for a in into[key] if a not in row]
        if open_ones:
            waiting += open_ones
        else:
            row[key] = max((row[a] + 1 for a in into[key]), default=0)
            waiting.pop()
    return row


def order(rows: list[list[int]], links: dict[int, set[int]]) -> None:
    """Sort each row by the mean place of its neighbours in the row before, downwards then upwards,
    a few times, and keep what crosses least.
    """
    best = [list(row) for row in rows]
    fewest = crossings(rows, links)
    for sweep in range(SWEEPS):
        below = range(1, len(rows)) if sweep % 2 == 0 else range(len(rows) - 2, -1, -1)
        for k in below:
            before = rows[k - 1 if sweep % 2 == 0 else k + 1]
            _sort(rows[k], before, links)
        found = crossings(rows, links)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    rows[:] = best


def _sort(row: list[int], before: list[int], links: dict[int, set[int]]) -> None:
    place = {key: k for k, key in enumerate(before)}
    centre = {}
    for k, key in enumerate(row):
        met = [place[other] for other in links[key] if other in place]
        centre[key] = sum(met) / len(met) if met else float(k)
    row.sort(key=centre.__getitem__)


def crossings(rows: list[list[int]], links: dict[int, set[int]]) -> int:
    """How often two edges between neighbouring rows cross."""
    total = 0
    for above, below in pairwise(rows):
        place = {key: k for k, key in enumerate(below)}
        ends = [sorted(place[o] for o in links[key] if o in place) for key in above]
        flat = [end for part in ends for end in part]
        total += sum(a > b for k, a in enumerate(flat) for b in flat[k + 1 :])
    return total


def _meeting(source: Card, target: Card) -> tuple[Group, Item, Item]:
    """The innermost group around both, and its children that hold the one and the other."""
    above: dict[int, Item] = {}
    item: Item = source
    while item.parent is not None:
        above[item.parent.key] = item
        item = item.parent
    other: Item = target
    while other.parent is not None:
        if other.parent.key in above:
            return other.parent, above[other.parent.key], other
        other = other.parent
    raise AssertionError("two cards of one graph have a group in common")

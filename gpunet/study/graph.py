"""The tape behind a tensor as cards in groups: what there is to draw, not yet where.

A card is an op with its output, or a leaf. A group is one call of a layer; it holds the ops that
were recorded during the call, and the groups of the layers that were called in it.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from numbers import Real
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module, to_host
from gpunet.parameter import Parameter
from gpunet.study.svg import number
from gpunet.study.watch import nodes_behind, saved_arrays
from gpunet.study.words import say
from gpunet.tape import Node
from gpunet.tensor import Tensor

UNWATCHED = (
    "The values and gradients between the ops were not kept. To see them, compute the loss inside "
    "`with gpunet.study.watching():`."
)
NO_GRADIENTS = "No gradients yet: call backward() on the loss, then draw again."


@dataclass(eq=False)
class Card:
    """kind: "op", "layer" (of one op), "parameter" or "data". lines: (kind of line, words) below
    the title. size: elements. sides: the leaves that only this op reads.
    """

    key: int
    kind: str
    title: str
    lines: list[tuple[str, str]]
    size: int
    sides: list[Card] = field(default_factory=list)
    parent: Group | None = None


@dataclass(eq=False)
class Group:
    """One call of a layer; `first` and `last` are the creation numbers that it spans."""

    key: int
    title: str
    first: int
    last: int
    children: list[Card | Group] = field(default_factory=list)
    parent: Group | None = None

    def adopt(self, child: Card | Group) -> None:
        child.parent = self
        self.children.append(child)

    def cards(self) -> Iterator[Card]:
        for child in self.children:
            if isinstance(child, Group):
                yield from child.cards()
            else:
                yield child


@dataclass(frozen=True)
class Graph:
    """root: the group of all. result: the card of the tensor that is drawn. edges: from card to
    card, those to `sides` left out. notes: what the reader should know of what is missing.
    """

    root: Group
    result: Card
    edges: list[tuple[Card, Card]]
    notes: list[str]

    def groups(self) -> Iterator[Group]:
        """All of them, outside in."""
        yield self.root
        yield from (item for item in _all(self.root) if isinstance(item, Group))


def graph_of(y: Tensor) -> Graph:
    """Read the tape behind `y`. ValueError if nothing was recorded."""
    if y.node is None:
        raise ValueError(
            "nothing to draw: this tensor was not computed by a recorded op"
            " (inside no_grad nothing is recorded; inputs and parameters are leaves)"
        )
    return _Reading(y.node).graph()


class _Reading:
    def __init__(self, root: Node) -> None:
        self.nodes = nodes_behind(root)
        self.went_back = root.backward is None
        self.watched = all(node.record is not None for node in self.nodes)
        self.keys = count()
        self.cards: dict[Node, Card] = {}
        self.edges: list[tuple[Card, Card]] = []

    def graph(self) -> Graph:
        top = Group(next(self.keys), "", -1, self.nodes[-1].number)
        self._adopt(top)
        for node in self.nodes:
            self.edges += [
                (self.cards[p], self.cards[node]) for p in node.parents if isinstance(p, Node)
            ]
        self._leaves(top)
        _merge(top)
        _number(top)
        notes = [] if self.went_back else [NO_GRADIENTS]
        notes += [] if self.watched else [UNWATCHED]
        return Graph(top, self.cards[self.nodes[-1]], self.edges, notes)

    def _adopt(self, top: Group) -> None:
        """Cards and groups in the order in which they began; calls span intervals of the creation
        numbers, so each belongs to the innermost group around its own.
        """
        began: list[tuple[int, Node, type | None]] = []
        for node in self.nodes:
            began.append((node.number, node, None))
            began += [(first, node, kind) for kind, first in _calls(node)]
        for first, node, kind in sorted(began, key=lambda event: event[0]):
            around = _innermost(top, first)
            if kind is not None:
                around.adopt(Group(next(self.keys), kind.__name__, first, node.number))
            else:
                self.cards[node] = self._op_card(node)
                around.adopt(self.cards[node])

    # Cards

    def _op_card(self, node: Node) -> Card:
        name = node.name.rstrip("_")
        shape = ("shape", _shape(node.shape, node.dtype))
        card = Card(next(self.keys), "op", name, [shape], math.prod(node.shape))
        record = node.record
        if record is not None:
            numbers = zip(_input_names(node), record.inputs, strict=True)
            card.lines += [("shape", f"{k} = {v:g}") for k, v in numbers if isinstance(v, Real)]
            card.lines += _statistics("value", record.value)
        if node.grad is not None:
            card.lines += _statistics("grad", node.grad)
        saved = saved_arrays(node.backward) if record is None else record.saved
        if saved:
            kept = ", ".join(f"{name} {_sizes(a.shape)}" for name, a in saved.items())
            card.lines += [("saved", say(f"keeps {line}")) for line in _wrapped(kept)]
        return card

    def _leaf_card(self, leaf: Any, name: str) -> Card:
        kind = "parameter" if isinstance(leaf, Parameter) else "data"
        array = leaf.data if isinstance(leaf, Tensor) else leaf
        lines = [("shape", _shape(array.shape, array.dtype)), *_statistics("value", array)]
        if self.went_back and isinstance(leaf, Tensor) and leaf.grad is not None:
            lines += _statistics("grad", leaf.grad)
        return Card(next(self.keys), kind, name, lines, array.size)

    def _leaves(self, top: Group) -> None:
        """Beside the op that reads them. On their own: those that several ops read, and the data
        that a chain of ops begins with.
        """
        readers: dict[int, list[Node]] = {}
        leaves: dict[int, tuple[Any, str]] = {}
        for node in self.nodes:
            for leaf, name in _leaves_of(node):
                leaves.setdefault(id(leaf), (leaf, name))
                readers.setdefault(id(leaf), []).append(node)
        begun: set[Node] = set()
        for key, (leaf, name) in leaves.items():
            card = self._leaf_card(leaf, name)
            first = readers[key][0]
            begins = (
                card.kind == "data"
                and first not in begun
                and not any(isinstance(p, Node) for p in first.parents)
            )
            if begins or len(set(readers[key])) > 1:
                begun.add(first)
                top.adopt(card)
                self.edges += [(card, self.cards[node]) for node in dict.fromkeys(readers[key])]
            else:
                self.cards[first].sides.append(card)


def _calls(node: Node) -> Iterator[tuple[type, int]]:
    """The layers whose output the node is, with the number at which each call began."""
    calls = node.calls
    while calls is not None:
        kind, first, calls = calls
        yield kind, first


def _innermost(group: Group, number: int) -> Group:
    """The deepest group around a creation number."""
    for child in group.children:
        if isinstance(child, Group) and child.first <= number <= child.last:
            return _innermost(child, number)
    return group


def _leaves_of(node: Node) -> Iterator[tuple[Any, str]]:
    """Tensors that collect a gradient and, of a watched node, arrays that need none."""
    names = _input_names(node)
    arrays = node.record.inputs if node.record is not None else [None] * len(node.parents)
    for k, (parent, array) in enumerate(zip(node.parents, arrays, strict=True)):
        if isinstance(parent, Tensor):
            yield parent, names[k]
        elif parent is None and array_module(array) is not None:
            yield array, names[k]


def _input_names(node: Node) -> list[str]:
    """What the op calls its inputs."""
    parameters = inspect.signature(node.op.pair).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    more = (f"input {k}" for k in range(len(names), len(node.parents)))
    return [*names[: len(node.parents)], *more]


# Groups made simpler


def _merge(group: Group) -> None:
    """A layer of one op and no parameters is one card with the layer's name."""
    for k, child in enumerate(group.children):
        if not isinstance(child, Group):
            continue
        _merge(child)
        only = child.children[0] if len(child.children) == 1 else None
        if isinstance(only, Card) and not any(s.kind == "parameter" for s in only.sides):
            if only.title.lower() != child.title.lower():
                only.lines.insert(0, ("shape", only.title))
            only.title, only.kind, only.parent = child.title, "layer", group
            group.children[k] = only


def _number(top: Group) -> None:
    """ "Affine 1", "Affine 2" where there are several."""
    titled = [item for item in _all(top) if isinstance(item, Group) or item.kind == "layer"]
    several = Counter(item.title for item in titled)
    used: Counter[str] = Counter()
    for item in titled:
        name = item.title
        if several[name] > 1:
            used[name] += 1
            item.title = f"{name} {used[name]}"


def _all(group: Group) -> Iterator[Card | Group]:
    for child in group.children:
        yield child
        if isinstance(child, Group):
            yield from _all(child)


# Words


def _statistics(name: str, array: Array) -> list[tuple[str, str]]:
    """ "value  -1.2  0.01  1.3": smallest, mean, largest; one number as it is."""
    values = to_host(array).astype(np.float64)
    if not values.size:
        return [("numbers", f"{name:<5} {say('empty')}")]
    finite = values[np.isfinite(values)]
    lines = []
    if finite.size:
        of = [finite.min(), finite.mean(), finite.max()] if values.size > 1 else [finite.item()]
        lines.append(("numbers", f"{name:<5} " + " ".join(f"{number(float(v)):>9}" for v in of)))
    for what, bad in (("nan", np.isnan(values)), ("infinite", np.isinf(values))):
        if bad.any():
            lines.append(
                ("bad", f"{name:<5} " + say(f"{int(bad.sum())} of {values.size} are {what}"))
            )
    return lines


def _shape(shape: Iterable[int], dtype: Any) -> str:
    return f"{_sizes(shape)} {dtype}"


def _sizes(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or say("number")


def _wrapped(words: str, width: int = 34) -> list[str]:
    """At commas, into lines of about this width."""
    lines = [""]
    for part in words.split(", "):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += (", " if lines[-1] else "") + part
    return lines

"""Keeping what the tape lets go: every value, every gradient, every saved array, to look at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from gpunet.backend import Array, array_module
from gpunet.context import changed
from gpunet.tape import Node


class Record(NamedTuple):
    """What a watched node keeps: its inputs, its output, and what backward was given, by name."""

    inputs: list[Any]
    value: Array
    saved: dict[str, Array]


def watching() -> AbstractContextManager[None]:
    """Inside it every op that is recorded keeps its values and, after backward, its gradient.

    For `gpunet.draw`. All of it stays in memory as long as the loss does, so not for training.
    """
    return changed(on_op=_keep)


def _keep(node: Node, inputs: list[Any], value: Array) -> None:
    node.record = Record(inputs, value, saved_arrays(node.backward))
    node.retain = True


def nodes_behind(root: Node) -> list[Node]:
    """Every node behind `root`, oldest first."""
    found = {root}
    waiting = [root]
    while waiting:
        parents = [p for p in waiting.pop().parents if isinstance(p, Node) and p not in found]
        found.update(parents)
        waiting += dict.fromkeys(parents)
    return sorted(found, key=lambda node: node.number)


def saved_arrays(backward: Callable[..., Any] | None) -> dict[str, Array]:
    """The arrays that a backward function holds, by the names they have in its source."""
    found: dict[str, Array] = {}
    waiting: list[Any] = [backward]
    seen: set[int] = set()
    while waiting:
        function = waiting.pop()
        seen.add(id(function))
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
            try:
                held = cell.cell_contents
            except ValueError:  # a name that was never given a value
                continue
            if array_module(held) is not None:
                found.setdefault(name, held)
            elif callable(held) and id(held) not in seen:
                waiting.append(held)
    return found

"""A captured sequence of launches that can be replayed with one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import counters, segments, work
from .work import Node


class Graph:
    """What `Stream.end_capture` returns; keeps no array alive, as CuPy's keeps none.

    It works on addresses. Where their memory has gone back to the driver, a launch raises
    cudaErrorIllegalAddress.
    """

    _nodes: tuple[Node, ...]
    _bytes: list[np.ndarray]  # so that even a stale address can be read without a crash

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via "
            "stream capture"
        )

    def launch(self, stream: work.Stream | None = None) -> None:
        """Run all the work on `stream`, or on the current one; inside a capture, record it."""
        state = work.state_of(stream)
        if state.capture is not None:
            for node in self._nodes:
                work.record(state, node)
            return
        work.check_legacy_stream(state)
        counters.add("graph_launches")
        for node in self._nodes:
            node.run()

    def upload(self, stream: work.Stream | None = None) -> None:
        """Send the graph to the device ahead of its first launch; nothing to do here."""

    def debug_dot_str(self, flags: int = 0) -> str:
        """The graph as DOT text: one line for each node, one for each edge."""
        lines = [
            f'"{number}" [label="{node.kind}: {node.name}"];'
            for number, node in enumerate(self._nodes)
        ]
        edges = [f'"{number}" -> "{number + 1}";' for number in range(len(self._nodes) - 1)]
        return "\n".join(["digraph dot {", *lines, *edges, "}"])


def make_graph(nodes: list[Node]) -> Graph:
    graph = Graph.__new__(Graph)
    graph._nodes = tuple(nodes)
    graph._bytes = segments.all_bytes()
    return graph

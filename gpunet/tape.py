"""The tape: what was computed, in order, and how gradients go back through it.

Define-by-run. A node points at its inputs only, so there are no cycles and memory goes with the
last reference. Nodes carry a creation number; backward visits the reached ones newest first, in a
loop, so depth has no limit.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from gpunet.backend import Array, DeviceError, array_module, device_of

Backward = Callable[[Array], Any]
Pair = tuple[Array, Backward]  # what an op's function returns: its output, and the way back

# The tape's clock: nodes, the beginnings of layers' calls, and changes of parameters count on it.
numbers = itertools.count()


class Node:
    """One recorded op: who its inputs were, and how a gradient passes through it.

    parents: for each input a Node, a leaf (a Tensor that collects its gradient), or None.
    calls: the layers whose output this is, as (class, number when the call began, inner calls): the
        ops in between are theirs. The class, not the layer, for a layer may hold its own output.
    record: left here by who watches the ops; see gpunet.study.watch.
    """

    changed = -1  # when its values were last changed: never

    __slots__ = (
        "backward",
        "calls",
        "dtype",
        "grad",
        "number",
        "op",
        "parents",
        "record",
        "retain",
        "shape",
    )

    def __init__(
        self,
        op: Any,
        shape: tuple[int, ...],
        dtype: Any,
        parents: tuple[Any, ...],
        backward: Backward,
    ) -> None:
        self.op = op
        self.shape = shape
        self.dtype = dtype
        self.parents = parents
        self.backward: Backward | None = backward
        self.number = next(numbers)
        self.retain = False
        self.grad: Array | None = None
        self.calls: Any = None
        self.record: Any = None

    @property
    def name(self) -> str:
        return str(self.op.__name__)

    def pull(self, gy: Array) -> Iterator[tuple[Any, Array]]:
        """(parent, gradient) for every input that needs one; all that was saved is let go."""
        if self.backward is None:
            raise RuntimeError(
                f"backward went through this graph already (at {self.name!r}) and its saved "
                "arrays are gone; run the forward pass again"
            )
        for place, parent in enumerate(self.parents):
            if parent is not None and parent.changed > self.number:
                raise RuntimeError(
                    f"input {place} of {self.name!r}, a parameter of shape {parent.shape}, was "
                    "changed after the forward pass (by an update, or its values set), and the "
                    "gradient would be that of neither; run the forward pass again"
                )
        backward, self.backward = self.backward, None
        gradients = backward(gy)
        gradients = gradients if isinstance(gradients, (tuple, list)) else (gradients,)
        given, inputs = len(gradients), len(self.parents)
        if given > inputs or any(parent is not None for parent in self.parents[given:]):
            raise RuntimeError(
                f"backward of {self.name!r} returned {given} gradient(s) for {inputs} inputs; "
                "return one for each, None where there is none (a loss returns none for its "
                "targets: detach() those)"
            )
        for parent, gx in zip(self.parents, gradients, strict=False):
            if parent is not None and gx is not None:
                yield parent, self._fit(gx() if callable(gx) else gx, parent, gy)

    def _fit(self, gx: Any, parent: Any, gy: Array) -> Array:
        """`gx` in the dtype of `parent`, or an error: an op may be anybody's."""
        module = array_module(gx)
        if module is None:
            raise TypeError(
                f"backward of {self.name!r} returned a {type(gx).__name__} as a gradient, "
                "expected an array"
            )
        if module is not array_module(gy):
            raise DeviceError(
                f"backward of {self.name!r} returned a gradient on {device_of(gx)} for one on "
                f"{device_of(gy)}"
            )
        if gx.shape != parent.shape:
            raise ValueError(
                f"backward of {self.name!r} returned a gradient of shape {gx.shape} for an input "
                f"of shape {parent.shape}"
            )
        return gx if gx.dtype == parent.dtype else gx.astype(parent.dtype)


def run(root: Node, seed: Array) -> None:
    """Visit every node that `root` reaches, newest first, passing gradients to its parents.

    The first contribution to a node is borrowed, the second makes a new array, later ones add to
    that in place: an op may hand one array to two inputs. Leaves copy.
    """
    gradients: dict[Node, Array] = {root: seed}
    owned: set[Node] = set()
    queue = [(-root.number, root)]
    while queue:
        _, node = heapq.heappop(queue)
        gy = gradients.pop(node)
        if node.retain:
            node.grad = array_module(gy).array(gy)
        for parent, gx in node.pull(gy):
            if not isinstance(parent, Node):
                parent.accumulate(gx)
            elif parent not in gradients:
                gradients[parent] = gx
                heapq.heappush(queue, (-parent.number, parent))
            elif parent in owned:
                gradients[parent] += gx
            else:
                gradients[parent] = gradients[parent] + gx
                owned.add(parent)

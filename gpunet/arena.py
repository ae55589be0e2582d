"""One flat buffer behind all parameters of a dtype, and one behind all their gradients.

`p.data` and `p.grad` of every parameter become views of them, so that zeroing gradients is one
fill, a global norm one reduction, an optimizer's update one launch and a checkpoint one copy.
Between two parameters lies zero padding up to the alignment; its gradient stays 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from gpunet.backend import ALIGNMENT, Array, aligned_zeros, common_module
from gpunet.parameter import Membership, Parameter
from gpunet.tape import numbers

Room = Callable[[str, int, Any], Array]
"""Gives a zeroed, aligned 1-D array by its name ("param", "grad", a state's), size and dtype."""


class Arena:
    """Moves `segments` (lists of parameters, all of one dtype and device) into flat buffers.

    Args:
        room: where these lie; None takes new memory.

    Attributes:
        data, grad: 1-D arrays.
        ranges: one slice per segment, ends on the alignment; an update runs over one of them.
        stale: None, or why the parameters are no longer here.
        changes: how often a parameter was frozen or thawed (`requires_grad`).
    """

    def __init__(self, segments: Sequence[Sequence[Parameter]], room: Room | None = None) -> None:
        parameters = [p for segment in segments for p in segment]
        self.xp = common_module([p.data for p in parameters], "the optimizer")
        self.dtype = parameters[0].data.dtype
        self._membership = Membership()
        self._places: list[tuple[Parameter, slice]] = []
        self.ranges: list[slice] = []
        end = 0
        for segment in segments:
            start = end
            for p in segment:
                self._places.append((p, slice(end, end + p.data.size)))
                end += self._padded(p.data.size)
            self.ranges.append(slice(start, end))
        self.data = self._array("param", end, room)
        self.grad = self._array("grad", end, room)
        self._pieces: list[Array] = []
        self._pieces_at = -1
        for p, place in self._places:
            p.enter(self._membership, self.data[place], self.grad[place])

    # Every step reads them: attrgetter costs no call of a Python function.
    stale: str | None = property(attrgetter("_membership.stale"))  # type: ignore[assignment]
    changes: int = property(attrgetter("_membership.changes"))  # type: ignore[assignment]

    def touch(self) -> None:
        """Tell the tape that the values change."""
        self._membership.changed = next(numbers)

    def _padded(self, size: int) -> int:
        step: int = ALIGNMENT // self.dtype.itemsize
        return -(-size // step) * step

    def zero_grad(self) -> None:
        """Every gradient to 0: one fill."""
        self.grad.fill(0)

    def gradients(self) -> list[Array]:
        """Those of the parameters that are not frozen, in flat pieces."""
        if self._pieces_at != self.changes:
            runs = self.trained(slice(0, self.grad.size))
            self._pieces, self._pieces_at = [self.grad[run] for run in runs], self.changes
        return self._pieces

    def like(self, name: str, room: Room | None = None) -> Array:
        """A zeroed buffer of the same length: a state array of an optimizer."""
        return self._array(name, self.data.size, room)

    def _array(self, name: str, size: int, room: Room | None) -> Array:
        if room is None:
            return aligned_zeros(self.xp, size, self.dtype)
        return room(name, size, self.dtype)

    def trained(self, part: slice) -> list[slice]:
        """`part` without the parameters that are frozen: a slice for each run of neighbours."""
        inside = self._inside(part)
        ends = [place.start for _, place in inside[1:]] + [part.stop]
        runs: list[slice] = []
        for (p, place), end in zip(inside, ends, strict=False):
            if not p.requires_grad:
                continue
            touches = runs and runs[-1].stop == place.start
            runs.append(slice(runs.pop().start if touches else place.start, end))
        return runs

    def places_in(self, part: slice) -> list[tuple[Parameter, slice]]:
        """The parameters that lie in `part`, each with its place counted from part's start."""
        first = part.start
        return [
            (p, slice(place.start - first, place.stop - first)) for p, place in self._inside(part)
        ]

    def _inside(self, part: slice) -> list[tuple[Parameter, slice]]:
        return [pair for pair in self._places if part.start <= pair[1].start < part.stop]


def check_parameters(parameters: Sequence[Any]) -> list[Parameter]:
    """The list itself, or an error that says which entry is no Parameter or stands there twice."""
    seen: set[int] = set()
    for position, p in enumerate(parameters):
        if not isinstance(p, Parameter):
            raise TypeError(
                f"parameter {position} is a {type(p).__name__}, expected a gpunet.Parameter; "
                "give model.parameters(), or use update(params, grads) for a dict of arrays"
            )
        if id(p) in seen:
            raise ValueError(f"parameter {position} (shape {p.shape}) is given twice")
        seen.add(id(p))
    return list(parameters)

"""Parameters and their state in flat buffers, cut into parts that one launch updates."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.arena import Arena, Room
from gpunet.backend import Array
from gpunet.optim.check import Settings, resolve
from gpunet.optim.groups import Group
from gpunet.optim.kernel import Arrays, State, UpdateKernel
from gpunet.optim.rows import Rows
from gpunet.source import Argument


class Part(Arrays):
    """What one launch updates, with its settings and its `rows` of scalars.

    decayed: weight decay reaches it, whatever `decay_all` says. place: in the arena.
    """

    def __init__(
        self,
        grad: Array,
        state: State,
        settings: Settings,
        decayed: bool,
        rows: Rows | None = None,
        place: slice | None = None,
    ) -> None:
        super().__init__(grad, state)
        self.place = slice(0, grad.size) if place is None else place
        self.settings = settings
        self.decayed = decayed
        self.rows = rows or Rows(self.xp, grad.dtype)


class Segment:
    """One group's parameters in an arena: the decayed ones, then the others.

    state: param and the state arrays by name, in this place of the arena.
    """

    def __init__(
        self, arena: Arena, settings: Settings, decayed: slice, others: slice, state: State
    ) -> None:
        self.arena, self.settings = arena, settings
        self.place = slice(decayed.start, others.stop)
        self._arrays = {"param": arena.data, **state}
        self.state = {name: array[self.place] for name, array in self._arrays.items()}
        self._places = {True: decayed, False: others, None: self.place}
        self._rows = {decays: Rows(arena.xp, arena.dtype) for decays in self._places}
        self._cut()

    def parts(self, decay_all: bool) -> list[Part]:
        """What is to be updated: one part where all elements are treated alike, else two; more
        where frozen parameters lie in between.
        """
        if self._changes != self.arena.changes:
            self._cut()
        return self._whole if decay_all or not self.settings["weight_decay"] else self._halves

    def _cut(self) -> None:
        self._changes = self.arena.changes
        self._whole = self._runs(None)
        self._halves = self._runs(True) + self._runs(False)

    def _runs(self, decays: bool | None) -> list[Part]:
        """Parts without the frozen parameters: of the decayed, of the others, of all (None)."""
        made = []
        for run in self.arena.trained(self._places[decays]):
            state = {name: array[run] for name, array in self._arrays.items()}
            rows = self._rows[decays]
            part = Part(self.arena.grad[run], state, self.settings, bool(decays), rows, run)
            made.append(part)
        return made

    def slices(self) -> dict[tuple[int, str], Array]:
        """Each parameter's share of each array, in its shape, by the parameter's id."""
        return {
            (id(p), name): array[place].reshape(p.shape)
            for p, place in self.arena.places_in(self.place)
            for name, array in self.state.items()
        }


def adopt(groups: Sequence[Group], kernel: UpdateKernel, room: Room | None = None) -> list[Segment]:
    """Move the parameters into arenas, one a dtype, where each group has first the decayed ones,
    then the others; state arrays are made beside them. room: where; None takes new memory.
    """
    dtypes = dict.fromkeys(p.dtype for group in groups for p in group.members)
    return [segment for dtype in dtypes for segment in _segments(dtype, groups, kernel, room)]


def _segments(
    dtype: object, groups: Sequence[Group], kernel: UpdateKernel, room: Room | None
) -> list[Segment]:
    lists = [
        [p for p in group.members if p.dtype == dtype and p.decay is decayed]
        for group in groups
        for decayed in (True, False)
    ]
    arena = Arena(lists, room)
    found: list[Segment] = []
    buffers: State = {}
    for group, decayed, others in zip(groups, arena.ranges[::2], arena.ranges[1::2], strict=True):
        if decayed.start == others.stop:
            continue
        slots = kernel.slots(group.settings)
        for slot in slots:
            if slot.name not in buffers:
                buffers[slot.name] = arena.like(slot.name, room)
        own = {slot.name: buffers[slot.name] for slot in slots}
        found.append(Segment(arena, group.settings, decayed, others, own))
        start(found[-1].state, slots, group.settings)
    return found


def start(state: State, slots: Sequence[Argument], settings: Settings) -> None:
    """Fill the state arrays with what the header has them start from: 0, param or a setting."""
    for slot in slots:
        if slot.start == "param":
            state[slot.name][...] = state["param"]
        elif slot.start is not None:
            value = settings[slot.start]
            state[slot.name][...] = resolve(value, 0) if slot.start == "lr" else value

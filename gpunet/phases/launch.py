"""A step in phases on the device: as one kernel a phase, or as one kernel that makes many steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from gpunet.arena import Arena
from gpunet.backend import Array
from gpunet.fused.after import next_drop
from gpunet.fused.plan import Block, Plan
from gpunet.layers import Dropout
from gpunet.optim.kernel import UpdateKernel
from gpunet.optim.parts import Part
from gpunet.phases.plan import THREADS, Phases
from gpunet.phases.program import SEVERAL, Place, Program

OPTIONS = ("-std=c++17",)
Nets = Any  # a kernel's argument: of the dtype Program.net, or program.SEVERAL


class Built:
    """A program for one GPU, for `models` networks, and the array that its phases share."""

    def __init__(
        self,
        phases: Phases,
        made: Program,
        cupy: Any,
        models: int = 1,
        most_blocks: int | None = None,
    ) -> None:
        self.phases, self.cupy = phases, cupy
        self.models, self.most_blocks, self._made = models, most_blocks, made
        self.work = cupy.zeros((models, made.work), phases.plan.dtype)
        names = [f"node_{k}" for k in range(len(phases.phases))]
        self.nodes = [cupy.RawKernel(made.nodes, name, OPTIONS) for name in names]
        self._tables: dict[int, Table] = {}

    def compile(self) -> None:
        """Have compiled what will run: the kernel that makes many steps, or those of the phases."""
        for kernel in [self.steps.kernel] if self.steps.blocks else self.nodes:
            kernel.compile()

    def nets(self, each: Sequence[tuple[Any, ...]], rows: int, fixed: bool) -> Nets:
        """The kernels' argument, from what each network has for program.NET, parts and layers.

        rows: of the batch. fixed: the launch is captured, so that a table must be there already.
        """
        host = np.zeros(len(each), self._made.net)  # what lies between its fields is compared, too
        for k, net in enumerate(each):
            host[k] = net
        if not self._made.several:
            return host[0]
        if rows not in self._tables:
            self._tables[rows] = Table(self.cupy.empty(host.nbytes, np.uint8))
        address = self._tables[rows].hold(host, fixed)
        return np.array((address, len(host)), SEVERAL)

    def one(self, nets: Nets, rows: int) -> None:
        """One step: a launch a phase."""
        for node, phase in zip(self.nodes, self.phases.phases, strict=True):
            node((phase.blocks or rows, 1, self.models), (THREADS,), (nets,))

    def many(self, nets: Nets, count: int) -> None:
        """`count` steps in one launch."""
        steps = self.steps
        arguments = (nets, np.int32(count))
        steps.kernel((steps.blocks,), (THREADS,), arguments, shared_mem=steps.kept)

    @cached_property
    def steps(self) -> Steps:
        """The kernel that makes many steps: the one whose blocks keep their tiles, where the GPU
        holds a block for each tile at once, with what it keeps.

        It has as many blocks as the widest phase, and no more than the GPU holds at once, for they
        wait for each other; none where there are no cooperative launches.
        """
        made, phases = self._made, self.phases
        widest = max(p.blocks or phases.rows for p in phases.phases) * self.models
        most = min(widest, self.most_blocks or widest)
        tiles = phases.kept_tiles * self.models
        if made.keeps and tiles <= min(most, most_resident(self.cupy)):
            steps = self._steps(made.keeps, made.kept, most)
            if steps.blocks >= tiles:
                return steps
        return self._steps(made.steps, 0, most)

    def _steps(self, text: str, kept: int, most: int) -> Steps:
        kernel = self.cupy.RawKernel(text, "steps", OPTIONS, enable_cooperative_groups=True)
        return Steps(kernel, min(most, resident(self.cupy, kernel, kept)), kept)


class Steps(NamedTuple):
    """The persistent kernel; how many blocks it has; bytes that each keeps."""

    kernel: Any
    blocks: int
    kept: int


class Table:
    """What the networks of a launch are told, on the device; one for each size of a batch, for a
    graph reads again what lay there when it was captured.
    """

    def __init__(self, device: Array) -> None:
        self._device = device
        self._sent: Array = None  # kept: a copy to the device may read it later

    def hold(self, host: Array, fixed: bool) -> int:
        """The address of the table that says what `host` does."""
        if self._sent is None or self._sent.tobytes() != host.tobytes():
            if fixed:
                raise RuntimeError("the networks are others than in the step before")
            self._sent = host
            self._device.set(host.view(np.uint8))
        return int(self._device.data.ptr)


def resident(cupy: Any, kernel: Any, dynamic: int = 0) -> int:
    """How many blocks of a kernel, with `dynamic` bytes of shared memory each, the GPU holds at
    once; 0 without cooperative launches, or where it has not so much.
    """
    properties = _properties(cupy)
    if not properties["cooperativeLaunch"]:
        return 0
    if dynamic:
        if kernel.shared_size_bytes + dynamic > properties["sharedMemPerBlockOptin"]:
            return 0
        kernel.max_dynamic_shared_size_bytes = dynamic
    occupancy = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
    each: int = occupancy(kernel.kernel.ptr, THREADS, dynamic)
    return each * int(properties["multiProcessorCount"])


def most_resident(cupy: Any) -> int:
    """How many blocks the GPU holds at once of the smallest kernel."""
    properties = _properties(cupy)
    each = properties["maxThreadsPerMultiProcessor"] // THREADS
    return int(each * properties["multiProcessorCount"])


def _properties(cupy: Any) -> Any:
    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.get_device_id())


def options_of(part: Part, kernel: UpdateKernel) -> frozenset[str]:
    """The compile-time options of a part's update."""
    return frozenset(p.option for p in kernel.source.outputs if p.option and p.name in part.state)


def cuts_of(each: Sequence[Sequence[Part]]) -> list[slice]:
    """The arena of several optimizers, cut so that no part of any of them ends inside a piece."""
    ends = sorted({end for own in each for p in own for end in (p.place.start, p.place.stop)})
    pieces = map(slice, ends, ends[1:])
    return [piece for piece in pieces if any(_covers(part, piece) for part in each[0])]


def places_of(plan: Plan, arena: Arena, cuts: Sequence[slice]) -> dict[int, Place]:
    """Where each parameter of the plan lies in an arena that is cut so."""
    found = {}
    for p, at in arena.places_in(slice(0, arena.data.size)):
        part = next(k for k, cut in enumerate(cuts) if cut.start <= at.start < cut.stop)
        found[id(p)] = Place(part, at.start - cuts[part].start)
    return {id(p): found[id(p)] for *_, p in plan.parameters}


def net_of(
    step: Sequence[Any], parts: Sequence[Part], cuts: Sequence[slice], plan: Plan
) -> tuple[Any, ...]:
    """What a network is told: `step`, in the order of program.NET; its parts; its layers."""
    each = [(next(p for p in parts if _covers(p, cut)), cut) for cut in cuts]
    of = [_settings_of(block) for block in plan.blocks]
    return (*map(_told, step), [_arrays_of(*pair) for pair in each], of)


def _covers(part: Part, piece: slice) -> bool:
    return bool(part.place.start <= piece.start < part.place.stop)


def _arrays_of(part: Part, piece: slice) -> tuple[Any, ...]:
    """The addresses of a piece of the part's arrays, and of its table of rows."""
    first = piece.start - part.place.start
    return [_told(a) + first * a.itemsize for a in part.state.values()], _told(part.rows.table)


def _settings_of(block: Block) -> tuple[Any, ...]:
    """Of one layer, in the order of program.SETTINGS; its dropout's next call is counted."""
    dropout, norm = block.dropout, block.norm
    drop = next_drop(dropout if isinstance(dropout, Dropout) else None)
    alpha = block.act.alpha if block.act else 0.0
    after = (alpha, drop.scale, drop.threshold, drop.seed, drop.step)
    if norm is None:
        return (*after, 0, 0, 0.0, 0.0, 0)
    means, variances = _told(norm.running_mean), _told(norm.running_var)
    return (*after, means, variances, norm.momentum, norm.eps, norm.track)


def _told(value: Any) -> Any:
    """A number itself, an array's address."""
    return value if isinstance(value, int | float | np.generic) else value.data.ptr

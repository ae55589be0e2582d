"""A step in phases on the device: as one kernel a phase, or as one kernel that makes many steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.fused.after import next_drop
from gpunet.fused.plan import Block, Plan
from gpunet.layers import Dropout
from gpunet.optim.kernel import UpdateKernel
from gpunet.optim.parts import Part
from gpunet.phases.plan import THREADS, Phases
from gpunet.phases.program import Place, Program

CTYPES = {
    "int": np.int32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
}

OPTIONS = ("-std=c++17",)


class Built:
    """A program for one GPU, and the array that its phases share."""

    def __init__(
        self, phases: Phases, made: Program, cupy: Any, most_blocks: int | None = None
    ) -> None:
        self.phases, self.cupy, self.most_blocks = phases, cupy, most_blocks
        self.work = cupy.zeros(made.work, phases.plan.dtype)
        names = [f"node_{k}" for k in range(len(phases.phases))]
        self.nodes = [cupy.RawKernel(made.nodes, name, OPTIONS) for name in names]
        self.steps = cupy.RawKernel(made.steps, "steps", OPTIONS, enable_cooperative_groups=True)
        number = phases.plan.dtype.type
        self.kinds = [
            CTYPES.get(kind, number if kind == "T" else None) for kind, _ in made.arguments
        ]
        self._grid: int | None = None

    def compile(self) -> None:
        """Have compiled what will run: the kernel that makes many steps, or those of the phases."""
        for kernel in [self.steps] if self.grid() else self.nodes:
            kernel.compile()

    def arguments(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The kernels' arguments, as CuPy takes them."""
        pairs = zip(self.kinds, values, strict=True)
        return tuple([_pointer(v) if kind is None else kind(v) for kind, v in pairs])

    def one(self, arguments: tuple[Any, ...], rows: int) -> None:
        """One step: a launch a phase."""
        for node, phase in zip(self.nodes, self.phases.phases, strict=True):
            node((phase.blocks or rows,), (THREADS,), arguments)

    def many(self, arguments: tuple[Any, ...], count: int) -> None:
        """`count` steps in one launch."""
        self.steps((self.grid(),), (THREADS,), (*arguments, np.int32(count)))

    def grid(self) -> int:
        """Blocks of the persistent kernel: as many as the widest phase has, and no more than the
        GPU holds at once, for they wait for each other. 0 where there are no cooperative launches.
        """
        if self._grid is None:
            widest = max(p.blocks or self.phases.rows for p in self.phases.phases)
            self._grid = min(resident(self.cupy, self.steps), self.most_blocks or widest, widest)
        return self._grid


def resident(cupy: Any, kernel: Any) -> int:
    """How many blocks of a kernel the GPU holds at once; 0 without cooperative launches."""
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.get_device_id())
    if not properties["cooperativeLaunch"]:
        return 0
    occupancy = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
    each: int = occupancy(kernel.kernel.ptr, THREADS, 0)
    return each * int(properties["multiProcessorCount"])


def _pointer(value: Any) -> Any:
    """An array, or the null pointer as a number: not every CuPy takes None for one."""
    return np.intp(0) if value is None else value


def options_of(part: Part, kernel: UpdateKernel) -> frozenset[str]:
    """The compile-time options of a part's update."""
    return frozenset(p.option for p in kernel.source.outputs if p.option and p.name in part.state)


def places_of(plan: Plan, parts: Sequence[Part]) -> dict[int, Place]:
    """Where each parameter of the plan lies in the optimizer's parts."""
    starts = [_address(part.state["param"]) for part in parts]
    found = {}
    for *_, p in plan.parameters:
        distances = [(_address(p.data) - start) // p.data.itemsize for start in starts]
        inside = [0 <= at < part.size for at, part in zip(distances, parts, strict=True)]
        part = inside.index(True)
        found[id(p)] = Place(part, distances[part])
    return found


def _address(a: Array) -> int:
    return int(a.ctypes.data if isinstance(a, np.ndarray) else a.data.ptr)


def arguments_of(parts: Sequence[Part], plan: Plan) -> list[Any]:
    """Of the parts and the layers, in the order of the program's arguments."""
    found: list[Any] = []
    for part in parts:
        found += [*part.state.values(), part.rows.table]
    for block in plan.blocks:
        found += _settings_of(block)
    return found


def _settings_of(block: Block) -> list[Any]:
    """Of one layer, in the order of program.SETTINGS; its dropout's next call is counted."""
    dropout, norm = block.dropout, block.norm
    drop = next_drop(dropout if isinstance(dropout, Dropout) else None)
    alpha = block.act.alpha if block.act else 0.0
    after = [alpha, drop.scale, drop.threshold, drop.seed, drop.step]
    if norm is None:
        return [*after, None, None, 0.0, 0.0, 0]
    return [*after, norm.running_mean, norm.running_var, norm.momentum, norm.eps, norm.track]

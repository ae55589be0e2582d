"""The CUDA text of a step in phases: constants, the optimizer's formula, which phase calls what.

What the phases do is written by hand, in kernels/phases/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.activations import NUMBERS
from gpunet.kernel import C_NUMBERS
from gpunet.optim.kernel import UpdateKernel
from gpunet.optim.rows import ROWS
from gpunet.parameter import Parameter
from gpunet.phases.calls import calls, layer
from gpunet.phases.plan import THREADS, WIDTH, Phase, Phases, Stage
from gpunet.phases.work import Work
from gpunet.source import expand

C_DATA = {
    **C_NUMBERS, "uint8": "unsigned char", "int8": "signed char", "bool": "bool",
    "int16": "short", "uint16": "unsigned short",
}  # fmt: skip
POINTER, NUMBER = np.dtype(np.uintp), "T"
NET = {  # the struct Net of kernels/phases/net.cuh, in its order
    "data": POINTER, "order": POINTER, "labels": POINTER,
    "work": POINTER, "losses": POINTER, "counters": POINTER,
    "rows": np.int32, "rescale": NUMBER, "smoothing": NUMBER,
}  # fmt: skip
SETTINGS = {  # of a layer, there too
    "alpha": NUMBER, "scale": NUMBER, "threshold": np.uint32, "seed": np.uint64, "step": np.uint64,
    "running_mean": POINTER, "running_var": POINTER,
    "momentum": NUMBER, "eps": NUMBER, "track": np.int32,
}  # fmt: skip
SEVERAL = np.dtype([("table", POINTER), ("count", np.int32)], align=True)  # and Several
MOST_ARGUMENTS = 4096  # bytes that a kernel takes


@dataclass(frozen=True)
class Place:
    """Where a parameter lies: in the arrays of which part of the optimizer, from which element."""

    part: int
    at: int


@dataclass(frozen=True)
class Update:
    """What the program makes of gradients.

    options: compile-time, of the kernel. places: of each parameter, by its id. parts: how many.
    """

    kernel: UpdateKernel
    options: frozenset[str]
    places: Mapping[int, Place]
    parts: int

    @property
    def arrays(self) -> list[str]:
        """The names of a part's arrays: param and its state."""
        return [p.name for p in self.kernel.source.outputs_with(self.options)]


@dataclass(frozen=True)
class Program:
    """Two texts around the same phases, with what they need to run.

    nodes: the text with a kernel for each phase, node_0 and on. steps: the one with the kernel
    `steps`, which makes many and has one more argument, how many. keeps: the same, of blocks that
    keep `kept` bytes of the first layer in dynamic shared memory; "" where there is none. work:
    elements of the array that the phases of a network share. net: what a kernel is told of one: as
    its argument, or, where it is for `several`, in a table.
    """

    nodes: str
    steps: str
    keeps: str
    kept: int
    work: int
    net: np.dtype[Any]
    several: bool


def write(phases: Phases, update: Update, data: Any, several: bool = False) -> Program:
    """The program of a step whose samples are of the dtype `data`; for `several` networks at once,
    or for one.
    """
    plan, work, stages = phases.plan, Work(phases), phases.stages
    net = net_type(plan.dtype, update, len(stages))
    several = several or net.itemsize > MOST_ARGUMENTS
    as_is = np.dtype(data) == plan.dtype and plan.rescale is None
    text = [
        f"// {'-'.join(map(str, [plan.features, *plan.columns]))}, batches of up to {phases.rows}",
        f"typedef {C_NUMBERS[plan.dtype.name]} T;",
        f"typedef {C_DATA[np.dtype(data).name]} S;",
        f"constexpr int THREADS = {THREADS}, STRIDE = {phases.stride};",
        f"constexpr int LAYERS = {len(stages)}, PARTS = {update.parts};",
        f"constexpr int ARRAYS = {len(update.arrays)};",
        f"constexpr int ROW_LOSSES = {work.row_losses};",
        f"constexpr bool AS_IS = {str(as_is).lower()};  // samples are x",
        *_update(update),
        *(line for k in stages for line in _layer(k, phases, work, update.places)),
        expand(["phases/step.cuh"], after=_there(update)),
        f"typedef {'Several' if several else 'One'} Nets;",
        f'static_assert(sizeof(Net) == {net.itemsize}, "told otherwise");',
    ]
    nodes = [*text, *_phases(phases, False), *_nodes(phases)]
    steps, keeps = ([*text, *_steps(phases, update, keeps)] for keeps in (False, True))
    kept = _kept_bytes(phases, update) if phases.kept_tiles else 0
    all_texts = "\n".join(nodes), "\n".join(steps), "\n".join(keeps) if kept else ""
    return Program(*all_texts, kept, work.size, net, several)


def _kept_bytes(phases: Phases, update: Update) -> int:
    """Of the struct Kept of kernels/phases/kept.cuh."""
    chunk, stride, itemsize = phases.stages[0].chunk, phases.stride, phases.plan.dtype.itemsize
    numbers = (2 * chunk + WIDTH) * (stride + 4) + len(update.arrays) * chunk * WIDTH
    scalars = len(update.kernel.row_names) * itemsize
    size = numbers * itemsize + (stride + 1) * 8 + scalars
    return -(-size // 16) * 16


# The optimizer


def _there(update: Update) -> list[str]:
    """What is included before the phases."""
    kernel = update.kernel
    return [*kernel.always_included, *kernel.source.includes, "phases/clock.cuh"]


def _update(update: Update) -> Iterator[str]:
    """Part, Scalars and `update`: around the very text that the optimizer launches by itself."""
    kernel, width = update.kernel, len(update.kernel.row_names)
    text = kernel.text(update.options)
    *before, _ = _there(update)
    yield text.preamble
    yield expand(["phases/clock.cuh"], after=before)
    yield f"""struct Part {{
    T *arrays[ARRAYS];  // {", ".join(update.arrays)}
    const T *rows;
}};
struct Scalars {{
    T value[{width}];
}};
__device__ __forceinline__ Scalars scalars_at(const Part &part, const Clock &clock) {{
    Scalars now;
    for (int k = 0; k < {width}; ++k) now.value[k] = part.rows[clock.update % {ROWS} * {width} + k];
    return now;
}}
// Element i, whose gradient is grad_.
__device__ __forceinline__ void update(const Part &part, const Scalars &now, int i, T grad_) {{
    const T *rows = now.value, norm_[] = {{T(0)}};
    const long long at = 0, counters[] = {{0}};
    T {", ".join(f"&{name}_ = part.arrays[{k}][i]" for k, name in enumerate(update.arrays))};
    {text.arguments[2]}
}}"""


# The layers


def _layer(stage: Stage, phases: Phases, work: Work, places: Mapping[int, Place]) -> Iterator[str]:
    """The constants of a stage: kernels/phases/net.cuh."""
    block = stage.block
    affine, norm, act = block.affine, block.norm, block.act
    numbers = {
        "INDEX": stage.index,
        "IN": stage.inputs,
        "OUT": stage.outputs,
        "CHUNK": stage.chunk,
        "CHUNKS": stage.chunks if stage.partial else 0,
        "TILES": stage.tiles,
        "COLUMNS": stage.columns,
        "ACT": NUMBERS[act.formula if act else None],
        "BIAS": affine.b is not None,
        "NORM": norm is not None,
        "DROPS": block.dropout is not None,
        "DRAWERS": stage.drawers,
        "EARLY": stage.index <= phases.first_row,
        "LAST": stage is phases.stages[-1],
        "BY_ROW": stage.by_row,
        **work.of[stage.index],
    }
    parameters: dict[str, Parameter | None] = {"Weight": affine.W, "Bias": affine.b}
    parameters |= {"Gamma": norm.gamma, "Beta": norm.beta} if norm else {}
    across = stage.tiles * WIDTH
    by_row = f"(row * CHUNKS + chunk) * {across} + column"
    by_column = f"(chunk * {across} + column) * STRIDE + row"
    yield f"struct {layer(stage)} {{"
    yield f"    static constexpr int {_listed(numbers)};"
    for name in ("Weight", "Bias", "Gamma", "Beta"):
        place = _listed(_place(parameters.get(name), places))
        yield f"    struct {name} {{ static constexpr int {place}; }};"
    yield "    static __device__ __forceinline__ int partial(int chunk, int row, int column) {"
    yield f"        return {by_row if stage.by_row else by_column};"
    yield "    }"
    yield "};"


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {int(number)}" for name, number in numbers.items())


def _place(p: Parameter | None, places: Mapping[int, Place]) -> dict[str, int]:
    place = Place(0, 0) if p is None else places[id(p)]
    return {"PART": place.part, "AT": place.at}


# What the kernels are given


def net_type(number: np.dtype[Any], update: Update, layers: int) -> np.dtype[Any]:
    """The struct Net, whose T is `number`."""

    def struct(fields: Mapping[str, Any]) -> np.dtype[Any]:
        own = [(name, number if kind is NUMBER else kind) for name, kind in fields.items()]
        return np.dtype(own, align=True)

    part = struct({"arrays": (POINTER, (len(update.arrays),)), "rows": POINTER})
    ends = {"parts": (part, (update.parts,)), "of": (struct(SETTINGS), (layers,))}
    return struct(NET | ends)


# The phases, and the kernels


def _phases(phases: Phases, keeps: bool) -> Iterator[str]:
    for k, phase in enumerate(phases.phases):
        yield from _phase(k, phase, keeps)


def _phase(k: int, phase: Phase, keeps: bool) -> Iterator[str]:
    """What step.cuh calls a Phase."""
    shared, ahead, lines = calls(phase, keeps)
    first, then = ("\n        ".join(some) for some in (ahead, lines))
    yield f"""struct Phase{k} {{  // {phase.name} {", ".join(str(s.index) for s in phase.stages)}
    {shared}
    static __device__ __forceinline__ int blocks(int rows) {{ return {phase.blocks or "rows"}; }}
    static __device__ __forceinline__ void ahead(const Net &net, const Clock &clock, Shared &own,
                                                 int block) {{
        {first}
    }}
    static __device__ __forceinline__ void run(const Net &net, const Clock &clock, Shared &own,
                                               int block) {{
        {then}
    }}
}};"""


# Two blocks of a node fit a processor; the other kernel has invariants of all phases to hold.
NODE = 'extern "C" __global__ void __launch_bounds__(THREADS, 2)'
STEPS = 'extern "C" __global__ void __launch_bounds__(THREADS, 1)'


def _nodes(phases: Phases) -> Iterator[str]:
    last = len(phases.phases) - 1
    for k in range(last + 1):
        ends = f"{str(k == 0).lower()}, {str(k == last).lower()}"
        yield f"{NODE} node_{k}(const Nets nets) {{ node<Phase{k}, {ends}>(nets); }}"
    yield ""


def _steps(phases: Phases, update: Update, keeps: bool) -> Iterator[str]:
    """The kernel that makes many steps; whether its blocks keep their tiles."""
    count, lines = len(phases.phases), []
    first = layer(phases.stages[0])
    own = "kept" if keeps else "persistent"
    yield expand([f"phases/{own}.cuh"], after=[*_there(update), "phases/step.cuh"])
    if keeps:
        size = _kept_bytes(phases, update)
        yield f'static_assert(sizeof(Kept<{first}>) == {size}, "told otherwise");'
    yield from _phases(phases, keeps)
    for k in range(count):
        meets = "true" if k else "!first" if phases.begins_alone else "false"
        lines.append(f"every<Phase{k}>(nets, clock, own.phase{k}, {meets});")
    body = "\n        ".join(lines)
    shared = " ".join(f"Phase{k}::Shared phase{k};" for k in range(count))
    yield f"""union Shared {{
    {shared}
}};
{STEPS} steps(const Nets nets, int count) {{
    __shared__ Shared own;
    {f"keep<{first}>(nets, count);" if keeps else ""}
    many(nets, count, [&](const Clock &clock, bool first) {{
        {body}
    }});
    {f"give_back<{first}>(nets);" if keeps else ""}
}}
"""

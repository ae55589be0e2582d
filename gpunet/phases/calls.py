"""What a block does in each phase, as CUDA: calls of the functions in kernels/phases/."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gpunet.phases.plan import Phase, Stage


class Calls(NamedTuple):
    """shared: a declaration of the type `Shared`, what the threads of a block have in common as
    `own`. lines: the calls, for `block`.
    """

    shared: str
    lines: list[str]


def calls(phase: Phase) -> Calls:
    """What a block of the phase does."""
    return {
        "product": _product,
        "columns": _columns,
        "rows": _rows,
        "back": _back,
        "weights": _weights,
    }[phase.name](phase.stages)


def layer(stage: Stage) -> str:
    """The name of a stage's constants."""
    return f"Layer{stage.index}"


def _product(stages: Sequence[Stage]) -> Calls:
    name = layer(stages[0])
    return Calls(
        f"typedef ProductTile<{name}> Shared;", [f"product<{name}>(net, clock, own, block);"]
    )


def _columns(stages: Sequence[Stage]) -> Calls:
    name = layer(stages[0])
    return Calls(
        f"typedef Columns<{name}> Shared;", [f"columns_forward<{name}>(net, clock, own, block);"]
    )


def _back(stages: Sequence[Stage]) -> Calls:
    names = ", ".join(map(layer, stages))
    return Calls(
        f"typedef ColumnsBack<{names}> Shared;",
        [f"columns_backward<{names}>(net, clock, own, block);"],
    )


def _rows(stages: Sequence[Stage]) -> Calls:
    first, last = stages[0], stages[-1]
    own = [f"T y{k.index}[{k.outputs}];" for k in stages]
    lines, before = [], "nullptr"
    if not first.partial:
        own.append(f"T x[{first.inputs}];")
        lines, before = [f"row_input<{layer(first)}>(net, clock, own.x, block);"], "own.x"
    for k in stages:
        y = f"own.y{k.index}"
        lines.append(f"row_forward<{layer(k)}>(net, clock, own.scratch, {before}, {y}, block);")
        before = y
    lines.append(f"row_loss_and_back<{layer(last)}>(net, clock, {before}, block);")
    for before_it, k in reversed(list(pairwise(stages))):
        both = f"{layer(k)}, {layer(before_it)}"
        arrays = f"own.y{k.index}, own.y{before_it.index}"
        lines.append(f"row_backward<{both}>(net, clock, own.scratch, {arrays}, block);")
    return Calls(f"struct Shared {{ T scratch[THREADS]; {' '.join(own)} }};", lines)


def _weights(stages: Sequence[Stage]) -> Calls:
    tiles = " ".join(f"WeightsTile<{layer(k)}> w{k.index};" for k in stages)
    lines, end = [], 0
    for k in stages:
        begin, end = end, end + k.tiles * k.chunks
        call = f"weights<{layer(k)}>(net, clock, own.w{k.index}, block - {begin})"
        lines.append(f"if (block < {end}) return {call};")
    biased = [k for k in stages if k.in_rows and k.block.affine.b is not None]
    lines += [f"bias<{layer(k)}>(net, clock);" for k in biased]
    return Calls(f"union Shared {{ {tiles} }};", [*lines, "mean_loss(net, clock);"])

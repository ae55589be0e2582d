"""What a block does in each phase, as CUDA: calls of the functions in kernels/phases/."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gpunet.phases.plan import Phase, Stage

MOST = 32 << 10  # bytes of matrices that a block of the phase `rows` holds


class Calls(NamedTuple):
    """shared: a declaration of the type `Shared`, what the threads of a block have in common as
    `own`. ahead: the calls, for `block`, that do not need the phase before to have ended. lines:
    the others; in between all threads of the block meet.
    """

    shared: str
    ahead: list[str]
    lines: list[str]


def calls(phase: Phase, keeps: bool = False) -> Calls:
    """What a block of the phase does; where it `keeps` its tile of the first layer, with that."""
    if phase.name == "product":
        return _product(phase.stages[0], keeps)
    if phase.name == "weights":
        return _weights(phase.stages, keeps)
    return {"columns": _columns, "rows": _rows, "back": _back}[phase.name](phase.stages)


def layer(stage: Stage) -> str:
    """The name of a stage's constants."""
    return f"Layer{stage.index}"


def _tile(stage: Stage, own: str, keeps: bool) -> str:
    """What a block has of the stage: kernels/phases/kept.cuh, or `own`."""
    return f"kept<{layer(stage)}>()" if keeps and stage.index == 0 else own


def _product(stage: Stage, keeps: bool) -> Calls:
    name, tile = layer(stage), _tile(stage, "own", keeps)
    return Calls(
        f"typedef ProductTile<{name}> Shared;" if tile == "own" else "struct Shared {};",
        [f"product_ahead<{name}>(net, clock, {tile}, block);"],
        [f"product<{name}>(net, clock, {tile}, block);"],
    )


def _columns(stages: Sequence[Stage]) -> Calls:
    name = layer(stages[0])
    return Calls(
        f"typedef Columns<{name}> Shared;",
        [],
        [f"columns_forward<{name}>(net, clock, own, block);"],
    )


def _back(stages: Sequence[Stage]) -> Calls:
    names = ", ".join(map(layer, stages))
    return Calls(
        f"typedef ColumnsBack<{names}> Shared;",
        [f"columns_ahead<{names}>(net, own, block);"],
        [f"columns_backward<{names}>(net, clock, own, block);"],
    )


def _rows(stages: Sequence[Stage]) -> Calls:
    first, last = stages[0], stages[-1]
    own = [f"T y{k.index}[{k.outputs}];" for k in stages]
    ahead, lines, before = ["row_label(net, clock, own.label, block);"], [], "nullptr"
    if not first.partial:
        own.append(f"T x[{first.inputs}];")
        row_input = f"row_input<{layer(first)}>(net, clock, own.x, block);"
        before = "own.x"
        if first.index == 0:
            ahead.append(row_input)
        else:
            lines += [row_input, "__syncthreads();"]
    matrices = {k.index: f"values<{layer(k)}::Weight>(net)" for k in stages}
    for k in _held(stages):
        own.append(f"T w{k.index}[{k.inputs * k.outputs}];")
        ahead.append(f"row_weights<{layer(k)}>(net, own.w{k.index});")
        matrices[k.index] = f"own.w{k.index}"
    for k in stages:
        x, W, y = before, matrices[k.index], f"own.y{k.index}"
        lines.append(f"row_forward<{layer(k)}>(net, clock, own.scratch, {x}, {W}, {y}, block);")
        before = y
    lines.append(f"row_loss_and_back<{layer(last)}>(net, {before}, own.label, block);")
    for before_it, k in reversed(list(pairwise(stages))):
        both, W = f"{layer(k)}, {layer(before_it)}", matrices[k.index]
        arrays = f"own.y{k.index}, {W}, own.y{before_it.index}"
        lines.append(f"row_backward<{both}>(net, clock, own.scratch, {arrays}, block);")
    shared = f"struct Shared {{ long long label; T scratch[THREADS]; {' '.join(own)} }};"
    return Calls(shared, ahead, lines)


def _held(stages: Sequence[Stage]) -> list[Stage]:
    """Those whose matrix a block copies before the phase `rows` begins: small ones, that no block
    updates then.
    """
    begins = stages[0].index == 0  # no barrier stands between a product and the weights before it
    small = [k for k in stages if not k.partial]
    size = sum(k.inputs * k.outputs * k.block.affine.dtype.itemsize for k in small)
    return small if size <= MOST and not begins else []


def _weights(stages: Sequence[Stage], keeps: bool) -> Calls:
    tiles = " ".join(f"WeightsTile<{layer(k)}> w{k.index};" for k in stages[keeps:])
    ahead, lines, end = [], [], 0
    for k in stages:
        begin, end = end, end + k.tiles * k.chunks
        tile = _tile(k, f"own.w{k.index}", keeps)
        given = f"<{layer(k)}>(net, clock, {tile}, block - {begin})"
        ahead.append(f"if (block < {end}) return weights_ahead{given};")
        lines.append(f"if (block < {end}) return weights{given};")
    biased = [k for k in stages if k.in_rows and k.block.affine.b is not None]
    lines += [f"bias<{layer(k)}>(net, clock);" for k in biased]
    return Calls(f"union Shared {{ {tiles} }};", ahead, [*lines, "mean_loss(net, clock);"])

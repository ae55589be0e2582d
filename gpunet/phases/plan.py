"""Which phases a step is made of, and who does what in each.

Between two phases all blocks of a GPU meet. A block is 256 threads; what it needs of others' work
has to be there when its phase begins. So a sum over inputs is cut among blocks, whose parts the
next phase adds up, and what follows a sum is done by row, where a row needs no other, or by column:

    product k   partial sums of x W
    columns k   adds them up; BatchNorm, activation, dropout
    rows        the last layers, as far as they are small, the loss, and back to their first sum
    back k      from dz of layer k + 1 to that of layer k; update of b, gamma, beta
    weights     dW of every layer, each element updated as soon as it is known; the other biases
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gpunet.activations import TABLE
from gpunet.fused.plan import Block, Plan

THREADS = 256
WIDTH = 32  # columns of a tile: kernels/phases/net.cuh
BLOCKS = 132  # that work is cut into, where there is enough of it: an H100 has so many processors
MOST_ROWS, MOST_WIDTH = 256, 1024
MOST_BYTES = 20 << 20  # of parameters and two states, which stay in the caches
SMALL = 4096  # elements of a matrix that a block reads for one row
TILE_BYTES = 40 << 10  # of a product's operands in shared memory
LEAST_CHUNK, MOST_CHUNK = 16, 64
GROUP, CALLS = 16, 2  # elements whose masks Philox draws in a call; calls of a thread


@dataclass(frozen=True)
class Stage:
    """One layer of the chain, as the phases see it.

    chunk: inputs that a tile of W has. by_row: its partial sums lie row by row. partial: it has a
    product phase. columns: that a block of its column phases has. in_rows: it is done in `rows`.
    groups: calls of Philox that dropout's mask takes. drawers: blocks of the product that draw it.
    """

    block: Block
    index: int
    chunk: int
    columns: int
    by_row: bool
    partial: bool
    in_rows: bool
    groups: int
    drawers: int

    @property
    def inputs(self) -> int:
        return self.block.affine.in_features

    @property
    def outputs(self) -> int:
        return self.block.affine.out_features

    @property
    def tiles(self) -> int:
        """Tiles of W side by side."""
        return -(-self.outputs // WIDTH)

    @property
    def chunks(self) -> int:
        """Tiles of W below each other."""
        return -(-self.inputs // self.chunk)

    @property
    def keeps_sum(self) -> bool:
        """Backward wants to see what the activation saw, and cannot make it again."""
        act, norm = self.block.act, self.block.norm
        return act is not None and norm is None and TABLE[act.formula].source == "input"


@dataclass(frozen=True)
class Phase:
    """A function that every block calls.

    blocks: how many there are to do; None is one for each row of the batch.
    """

    name: str
    stages: tuple[Stage, ...]
    blocks: int | None


@dataclass(frozen=True)
class Phases:
    """The step of a plan for batches of up to `rows` rows.

    stride: rows, rounded up to four. first_row: the first stage of the phase `rows`.
    """

    plan: Plan
    rows: int
    stages: tuple[Stage, ...]
    first_row: int

    @property
    def stride(self) -> int:
        return -(-self.rows // 4) * 4

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        return tuple(self._phases())

    def _phases(self) -> Iterator[Phase]:
        stages, first = self.stages, self.first_row
        for stage in stages[: first + 1]:
            if stage.partial:
                yield Phase("product", (stage,), stage.tiles * stage.chunks + stage.drawers)
            if stage.index < first:
                yield Phase("columns", (stage,), -(-stage.outputs // stage.columns))
        yield Phase("rows", stages[first:], None)
        for stage in reversed(stages[:first]):
            following = stages[stage.index + 1]
            yield Phase("back", (stage, following), -(-stage.outputs // stage.columns))
        yield Phase("weights", stages, 1 + sum(k.tiles * k.chunks for k in stages))

    @property
    def begins_alone(self) -> bool:
        """The first phase has to wait for the last of the step before. (A product takes the very
        tiles of W that the same blocks updated.)
        """
        return self.phases[0].name != "product"

    @property
    def kept_tiles(self) -> int:
        """Tiles of the first layer, each of which a block of the persistent kernel may keep; 0
        where no product begins.
        """
        return 0 if self.begins_alone else self.stages[0].tiles * self.stages[0].chunks


def read(plan: Plan, rows: int) -> Phases | str:
    """The phases of a step of up to `rows` rows, or why it is left to cuBLAS."""
    widths = [plan.features, *plan.columns]
    size = sum(p.size for *_, p in plan.parameters)
    if rows > MOST_ROWS:
        return f"batches of {rows} rows; up to {MOST_ROWS} run in phases"
    if max(widths) > MOST_WIDTH:
        return f"a layer is {max(widths)} wide; up to {MOST_WIDTH} run in phases"
    if 3 * size * plan.dtype.itemsize > MOST_BYTES:
        return f"{size:,} parameters are more than the caches hold"
    first = _first_row(plan)
    stages = tuple(_stage(plan, k, first, -(-rows // 4) * 4) for k in range(len(plan.blocks)))
    return Phases(plan, rows, stages, first)


def _first_row(plan: Plan) -> int:
    """Where the layers begin that a block can do for its row: no BatchNorm, small matrices."""
    first = len(plan.blocks) - 1
    while first > 0 and plan.blocks[first - 1].norm is None and _is_small(plan.blocks[first]):
        first -= 1
    return first


def _is_small(block: Block) -> bool:
    return block.affine.in_features * block.affine.out_features <= SMALL


def _stage(plan: Plan, index: int, first: int, stride: int) -> Stage:
    block, itemsize = plan.blocks[index], plan.dtype.itemsize
    partial = index < first or (index == first and not _is_small(block))
    groups = -(-stride * block.affine.out_features // GROUP) if partial and block.dropout else 0
    drawers = -(-groups // (CALLS * THREADS))
    most = min(MOST_CHUNK, TILE_BYTES // ((stride + 4 + WIDTH) * itemsize))
    chunk = _chunk(block.affine.in_features, block.affine.out_features, most, BLOCKS - drawers)
    columns = 1
    while columns * itemsize < 16 and -(-block.affine.out_features // columns) > BLOCKS:
        columns *= 2
    in_rows = index >= first
    return Stage(block, index, chunk, columns, index == first, partial, in_rows, groups, drawers)


def _chunk(inputs: int, outputs: int, most: int, blocks: int) -> int:
    """A multiple of four: so many that all tiles together are `blocks`, or somewhat fewer."""
    across = -(-outputs // WIDTH)
    wanted = -(-inputs // max(1, blocks // across))
    chunk = min(max(wanted, LEAST_CHUNK), -(-inputs // 4) * 4)
    return min(-(-chunk // 4) * 4, most // 4 * 4)

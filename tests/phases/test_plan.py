"""gpunet.phases.plan: which phases a network is cut into, and which networks are not."""

from __future__ import annotations

from typing import Any

import pytest

import gpunet as gn
from gpunet.fused import plan as chain
from gpunet.phases import plan
from gpunet.phases.work import Work


def read(sizes: list[int], rows: int, dtype: str = "float32", **kind: Any) -> plan.Phases | str:
    found = chain.read(gn.MLP(sizes, dtype=dtype, **kind), gn.SoftmaxWithLoss())
    assert isinstance(found, chain.Plan)
    return plan.read(found, rows)


def cut(sizes: list[int], rows: int, **kind: Any) -> plan.Phases:
    found = read(sizes, rows, **kind)
    assert isinstance(found, plan.Phases), found
    return found


def names(sizes: list[int], rows: int, **kind: Any) -> list[str]:
    return [phase.name for phase in cut(sizes, rows, **kind).phases]


def test_small_networks_have_few_phases() -> None:
    norm = {"batch_norm": True, "dropout": 0.5}
    assert names([64, 32, 10], 32) == ["rows", "weights"]
    assert names([784, 100, 10], 100) == ["product", "rows", "weights"]
    forward = ["product", "columns", "product", "columns", "rows"]
    assert names([784, 256, 128, 10], 128, **norm) == [*forward, "back", "back", "weights"]
    assert names([784, 256, 128, 10], 128) == [
        "product",
        "columns",
        "product",
        "rows",
        "back",
        "weights",
    ]
    assert names([5, 4], 1) == ["rows", "weights"]


@pytest.mark.parametrize(
    ("sizes", "rows", "reason"),
    [
        ([64, 32, 10], 257, "batches of 257 rows; up to 256 run in phases"),
        ([1025, 32, 10], 32, "a layer is 1025 wide; up to 1024 run in phases"),
        ([1000, 1000, 1000, 10], 32, "2,012,010 parameters are more than the caches hold"),
    ],
)
def test_what_does_not_fit_is_told(sizes: list[int], rows: int, reason: str) -> None:
    assert read(sizes, rows) == reason


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 37, 256])
def test_all_of_every_matrix_is_cut_among_blocks(rows: int, dtype: str) -> None:
    """Tiles cover W, and what a block shares stays below 48 KB."""
    phases = cut([784, 300, 41, 7], rows, dtype=dtype)
    itemsize = phases.plan.dtype.itemsize
    for stage in phases.stages:
        assert stage.chunks * stage.chunk >= stage.inputs > (stage.chunks - 1) * stage.chunk
        assert stage.tiles * plan.WIDTH >= stage.outputs
        assert stage.chunk % 4 == 0
        assert stage.chunk * (phases.stride + 4 + plan.WIDTH) * itemsize <= plan.TILE_BYTES
    last = phases.phases[-1]
    assert last.blocks == 1 + sum(k.tiles * k.chunks for k in phases.stages)


def test_masks_are_drawn_sixteen_at_a_time_beside_a_product() -> None:
    wide = cut([784, 256, 128, 10], 128, batch_norm=True, dropout=0.5)
    assert [k.groups for k in wide.stages] == [128 * 256 // 16, 128 * 128 // 16, 0]
    assert [k.drawers for k in wide.stages] == [4, 2, 0]
    assert max(p.blocks or 0 for p in wide.phases[:-1]) == plan.BLOCKS
    assert not any(k.groups for k in cut([64, 32, 10], 32, dropout=0.5).stages)


def test_a_step_begins_alone_where_it_begins_with_rows() -> None:
    """Which read all of W; a product has just its own tile of it."""
    assert cut([64, 32, 10], 32).begins_alone
    assert not cut([784, 100, 10], 100).begins_alone


def test_places_do_not_overlap_and_begin_at_fours() -> None:
    phases = cut([50, 41, 7], 33, batch_norm=True)
    work = Work(phases)
    starts = sorted({work.row_losses, *(place for own in work.of for place in own.values())})
    assert starts[0] == 0
    assert all(place % 4 == 0 for place in starts)
    assert work.of[1]["X"] == work.of[0]["Y"]
    assert work.of[0]["DZ"] - work.of[0]["Y"] == 44 * phases.stride
    assert work.size >= starts[-1]

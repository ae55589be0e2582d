"""gpunet.phases.phased: the step in phases against the tape, its two ways against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from gpunet.phases import launch, plan, program
from gpunet.phases.phased import Phased
from gpunet.testing import simgpu
from tests.phases import random_networks as networks

FEW = ((3, "float64", 1e-12), (16, "float64", 1e-12), (21, "float32", 1e-5))


@pytest.mark.parametrize(("seed", "dtype", "limit"), FEW)
def test_random_networks_are_trained_as_on_the_tape(
    seed: int, dtype: str, limit: float, cp: Any
) -> None:
    """Losses, parameters, the optimizer's state and BatchNorm's statistics; and bit for bit alike
    by a launch a phase and in one launch, by however many blocks.
    """
    drawn = replace(networks.draw(seed), dtype=dtype)
    nodes = networks.in_phases(drawn)
    assert networks.difference(nodes, networks.on_the_tape(drawn)) < limit, drawn.title
    for most_blocks in (1, networks.MANY):
        assert networks.same_bits(networks.in_phases(drawn, most_blocks), nodes), drawn.title


@pytest.mark.parametrize(("seed", "dtype"), [(3, "float64"), (15, "float32"), (18, "float64")])
def test_each_of_several_networks_is_as_alone(seed: int, dtype: str, cp: Any) -> None:
    """To the last bit, each with weights, order, dropout, rate, decay and updates of its own; by
    a launch a phase and in one launch, by however many blocks.
    """
    drawn = replace(networks.draw(seed), dtype=dtype)
    alone = [networks.several_in_phases(drawn, [k])[0] for k in range(3)]
    assert not any(networks.same_bits(alone[0], other) for other in alone[1:])
    for most_blocks in (0, 5, networks.MANY):
        together = networks.several_in_phases(drawn, range(3), most_blocks)
        assert all(map(networks.same_bits, together, alone)), (drawn.title, most_blocks)


def test_launches_do_not_grow_with_the_networks(sim: Any) -> None:
    drawn = networks.draw(3)
    for most_blocks in (0, 7):
        counts = []
        for count in (1, 5):
            with simgpu.trace() as calls:
                networks.several_in_phases(drawn, range(count), most_blocks)
            kinds = {f"node_{k}" for k in range(20)} | {"steps"}
            counts.append(sum(call.name in kinds for call in calls))
        assert counts[0] == counts[1] > 0


def test_networks_that_are_not_alike(sim: Any) -> None:
    one, other = (networks.resident_of(networks.draw(3), k) for k in (0, 1))
    assert Phased([one, other], 5).reason is None
    unlike = networks.resident_of(networks.draw(4), 0)
    assert Phased([one, unlike], 5).reason == "the networks are not alike"


@pytest.mark.parametrize("seed", [3, 16])
def test_a_barrier_that_is_missing_shows(
    seed: int, sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of blocks that keep their tiles, of network 3, and of those that do not."""
    drawn = networks.draw(seed)
    whole = networks.in_phases(drawn, most_blocks=5)
    write = program.write

    def without(*given: Any, **more: Any) -> program.Program:
        made = write(*given, **more)
        assert made.steps.count(", true);\n") == made.keeps.count(", true);\n") > 2
        steps, keeps = (t.replace(", true);\n", ", false);\n") for t in (made.steps, made.keeps))
        return replace(made, steps=steps, keeps=keeps)

    monkeypatch.setattr(program, "write", without)
    try:
        found = networks.in_phases(drawn, most_blocks=5)
    except sim.cuda.driver.CUDADriverError:
        return  # a block that came too late took rows behind the last
    assert not networks.same_bits(found, whole)


def widest(built: launch.Built) -> int:
    return max(p.blocks or built.phases.rows for p in built.phases.phases)


def build(seed: int) -> launch.Built:
    """The program of a network on the GPU."""
    drawn = networks.draw(seed)
    with mock.patch.multiple(plan, **drawn.cut):
        step = drawn.step(drawn.model().to("cuda"), fuse=True)
        return networks.phased_of(step, *drawn.data(), rows=drawn.rows).built()


def test_blocks_keep_their_tiles_where_there_is_room(
    sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where each has one at most; where they do not fit, the kernel is the one without."""
    built = build(0)
    tiles = built.phases.kept_tiles
    assert built.steps.blocks >= tiles > 0
    assert built.steps.kept > 0
    for changed in ({"sharedMemPerBlockOptin": 4096}, {"multiProcessorCount": 1}):
        properties = sim.cuda.runtime.getDeviceProperties(0) | changed
        monkeypatch.setattr(sim.cuda.runtime, "getDeviceProperties", lambda _, p=properties: p)
        other = build(0)
        assert other.steps.kept == 0
        assert other.steps.blocks == min(widest(built), launch.most_resident(sim))
        monkeypatch.undo()


def test_a_copy_that_nobody_waits_for_shows(sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = networks.draw(0)
    whole = networks.in_phases(drawn, networks.MANY)
    write = program.write

    def without(*given: Any, **more: Any) -> program.Program:
        made = write(*given, **more)
        assert made.keeps.count("__pipeline_wait_prior(0);") == 1
        return replace(made, keeps=made.keeps.replace("__pipeline_wait_prior(0);", ""))

    monkeypatch.setattr(program, "write", without)
    assert not networks.same_bits(networks.in_phases(drawn, networks.MANY), whole)


@pytest.mark.parametrize("fit", [0, 3, 10**6])
def test_no_block_waits_for_one_that_is_not_there(
    fit: int, sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The persistent kernel has no more blocks than the GPU holds, and none without cooperative
    launches; nor more than there is to do.
    """
    monkeypatch.setattr(launch, "resident", lambda *_: fit)
    drawn = networks.draw(14)
    step = drawn.step(drawn.model().to("cuda"), fuse=True)
    phased = networks.phased_of(step, *drawn.data(), rows=drawn.rows)
    assert phased.phases is not None
    built = phased.built()
    assert built.steps.blocks == min(fit, widest(built))
    assert phased.is_persistent is (fit > 0)


def test_without_cooperative_launches_none_is_resident(
    sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = sim.RawKernel('extern "C" __global__ void empty() {}', "empty")
    assert launch.resident(sim, kernel) >= 132
    properties = sim.cuda.runtime.getDeviceProperties(0) | {"cooperativeLaunch": 0}
    monkeypatch.setattr(sim.cuda.runtime, "getDeviceProperties", lambda _: properties)
    assert launch.resident(sim, kernel) == 0

"""gpunet.phases.phased: the step in phases against the tape, its two ways against each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.phases import random_networks as networks

FEW = (3, 16, 13)


@pytest.mark.parametrize("seed", FEW)
def test_random_networks_are_trained_as_on_the_tape(seed: int, cp: Any) -> None:
    """Losses, parameters, the optimizer's state and BatchNorm's statistics; and bit for bit alike
    by a launch a phase and in one launch, by however many blocks.
    """
    drawn = networks.draw(seed)
    nodes = networks.in_phases(drawn)
    assert networks.difference(nodes, networks.on_the_tape(drawn)) < 1e-12, drawn.title
    for most_blocks in (1, 5):
        assert networks.same_bits(networks.in_phases(drawn, most_blocks), nodes), drawn.title

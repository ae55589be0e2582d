"""The record of many random networks (`python -m tests.tools.phases`): what it says, of what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpunet.activation import ACTIVATIONS
from gpunet.optim import OPTIMIZERS
from tests.phases import random_networks as networks
from tests.tools.phases import alike

FOUND = json.loads(Path(__file__).with_name("record.json").read_bytes())


def test_hundreds_of_networks_were_alike() -> None:
    assert len({one["seed"] for one in FOUND}) == len(FOUND) >= 200
    assert all(map(alike, FOUND))
    assert sum(one["difference"] <= 1e-12 for one in FOUND) >= 0.97 * len(FOUND)
    assert sum(one["several"] is True for one in FOUND) >= 40


@pytest.mark.parametrize("one", FOUND[:: len(FOUND) // 10], ids=lambda one: str(one["seed"]))
def test_they_are_those_that_are_drawn_today(one: dict[str, Any]) -> None:
    drawn = networks.draw(one["seed"])
    assert drawn.title == one["network"]
    assert [repr(layer) for layer in drawn.model().layers] == one["layers"]


def test_all_that_a_network_may_have_is_among_them() -> None:
    words = "\n".join(layer for one in FOUND for layer in one["layers"])
    for kind in ("BatchNorm", "Dropout", "Rescale", "bias=False", *ACTIVATIONS):
        assert kind in words or ACTIVATIONS[kind].__name__ in words, kind
    assert all(f", {name}, " in "\n".join(one["network"] for one in FOUND) for name in OPTIMIZERS)


def test_what_is_not_alike_is_told() -> None:
    good = {"same_bits": True, "difference": 5e-13, "noise": 0.0, "several": None}
    assert alike(good)
    assert not alike(good | {"same_bits": False})
    assert not alike(good | {"several": False})
    assert not alike(good | {"difference": 2e-12})
    assert alike(good | {"difference": 2e-12, "noise": 1e-12})

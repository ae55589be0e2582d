"""gpunet.rng: the seeds that are taken, and one generator for all."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import rng


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, "1", None])
def test_bad_seeds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\^64 - 1"):
        gn.seed(value)


def test_a_seed_starts_the_draws_anew() -> None:
    gn.seed(3)
    drawn = [rng.draw_seed() for _ in range(3)]
    assert len(set(drawn)) == 3
    gn.seed(np.int64(3))
    assert [rng.draw_seed() for _ in range(3)] == drawn
    gn.seed(4)
    assert rng.draw_seed() != drawn[0]


def test_the_state_of_the_generator() -> None:
    rng.seed(5)
    rng.draw_seed()
    state = json.loads(json.dumps(rng.state()))
    coming = [rng.draw_seed() for _ in range(3)]
    rng.seed(6)
    rng.restore(state)
    assert [rng.draw_seed() for _ in range(3)] == coming
    rng.restore(None)
    assert rng.state() is None
    first = rng.draw_seed()
    rng.seed(0)
    assert rng.draw_seed() == first
    for wrong in ({}, {"bit_generator": "PCG64"}, 3):
        with pytest.raises((ValueError, TypeError, KeyError)):
            rng.restore(wrong)  # type: ignore[arg-type]

"""What Adam's update alone and an eager step cost, and a copy of as many numbers beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.gpu.step_timings import ROUNDS, timed
from gpunet.backend import to_device
from gpunet.bench.timing import repeated

ELEMENTS = {"cuda": 10**8, "sim": 10**4}
CALLS = {"cuda": 50, "sim": 5}  # eager steps a round
COPY, ADAM = "copy, float32", "Adam.step, float32"
EAGER = "eager step, 784-100-10, batch 100"
TOUCHED = 7  # Adam reads gradient, parameter and two states, and writes the last three


def optimizer(place: str) -> dict[str, Any]:
    """Adam on 10^8 float32 parameters, beside a copy of as many."""
    cupy, n = gn.backend.cupy(), ELEMENTS[place]
    copied = _copy(cupy, n, ROUNDS[place])
    p = gn.Parameter(cupy.ones(n, np.float32))
    adam = gn.Adam([p])
    p.grad = cupy.full(n, 1e-3, np.float32)
    step = timed(repeated(adam.step), 5, ROUNDS[place])
    step["gb_per_s"] = TOUCHED * 4 * n / step["median_s"] / 1e9
    step["share_of_copy"] = step["gb_per_s"] / copied["gb_per_s"]
    return {"timings": {COPY: copied | {"elements": n}, ADAM: step | {"elements": n}}}


def _copy(cupy: Any, n: int, rounds: int) -> dict[str, Any]:
    source, target = cupy.ones(n, np.float32), cupy.empty(n, np.float32)
    found = timed(repeated(lambda: cupy.copyto(target, source)), 5, rounds)
    return found | {"gb_per_s": 2 * 4 * n / found["median_s"] / 1e9}


def training_step(place: str) -> dict[str, Any]:
    """One eager step of 784-100-10 with Adam, batch 100, from arrays on the device."""
    gn.seed(0)
    model = gn.MLP([784, 100, 10]).to("cuda")
    adam, loss_fn = gn.Adam(model.parameters()), gn.SoftmaxWithLoss()
    generator = np.random.default_rng(0)
    x = to_device(generator.random((100, 784), np.float32), "cuda")
    t = to_device(generator.integers(0, 10, 100), "cuda")

    def step() -> None:
        loss = loss_fn(model(x), t)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return {"timings": {EAGER: timed(repeated(step), CALLS[place], ROUNDS[place])}}

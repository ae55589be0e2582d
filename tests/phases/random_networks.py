"""Networks drawn at random, trained on the tape and in phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np

import gpunet as gn
from gpunet import counters
from gpunet.activation import ACTIVATIONS
from gpunet.backend import array_module, to_device, to_host
from gpunet.ensemble.members import make
from gpunet.ensemble.stack import Stack
from gpunet.fused.resident import Resident
from gpunet.optim import OPTIMIZERS
from gpunet.phases import plan
from gpunet.phases.phased import Phased

STEPS = 3
MANY = 10**6  # blocks: as many as there is work for, so that each may keep its tile


@dataclass(frozen=True)
class Drawn:
    """One network with its data: all follows from the seed.

    cut: how plan.py cuts the work, so that small networks are cut as large ones are.
    """

    seed: int
    sizes: tuple[int, ...]
    rows: int
    optimizer: str
    settings: dict[str, Any]
    cut: dict[str, int]
    dtype: str = "float64"

    @property
    def title(self) -> str:
        return f"seed {self.seed}: {'-'.join(map(str, self.sizes))}, {self.rows} rows, " + (
            f"{self.optimizer}, {self.dtype}"
        )

    def model(self) -> gn.Sequential:
        draw = np.random.default_rng(self.seed)
        gn.seed(self.seed)
        rescale = [gn.Rescale(0.25, self.dtype)] if draw.random() < 0.3 else []
        norms = draw.random(len(self.sizes) - 1) < 0.4
        layers: list[gn.Layer] = list(rescale)
        for k, (before, after) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            last, norm = k == len(self.sizes) - 2, bool(norms[k])
            bias = bool(draw.random() < 0.8) and (last or not norm)
            layers.append(gn.Affine(before, after, bias=bias, dtype=self.dtype))
            if last:
                break
            if norm:
                layers.append(gn.BatchNorm(after, momentum=0.3, eps=1e-2, dtype=self.dtype))
            # Between two BatchNorms with nothing but sums a vector's gradient is 0 and the noise
            # of rounding, of which some optimizers make full steps.
            if norms.any() or draw.random() < 0.7:
                name = sorted(ACTIVATIONS)[draw.integers(len(ACTIVATIONS))]
                layers.append(ACTIVATIONS[name]())
            if draw.random() < 0.4:
                layers.append(gn.Dropout(float(draw.choice([0.0, 0.2, 0.5])), seed=self.seed + k))
        return gn.Sequential(*layers)

    def data(self) -> tuple[Any, Any, Any]:
        """x, labels, and an order of rows for STEPS batches, the last one of fewer rows."""
        draw = np.random.default_rng(self.seed + 10**6)
        count = self.rows * STEPS + 3
        x = draw.standard_normal((count, self.sizes[0]))
        whole = draw.random() < 0.3
        x = draw.integers(0, 9, x.shape).astype(np.uint8) if whole else x.astype(self.dtype)
        return x, draw.integers(0, self.sizes[-1], count), draw.permutation(count)

    def batches(self) -> list[int]:
        return [self.rows] * (STEPS - 1) + [max(2, self.rows - 3)]

    def step(self, model: gn.Sequential, fuse: bool) -> gn.Step:
        smoothing = (self.seed % 3) * 0.1
        optimizer = OPTIMIZERS[self.optimizer](model.parameters(), **self.settings)
        loss = gn.SoftmaxWithLoss(label_smoothing=smoothing)
        return gn.Step(model, loss, optimizer, fuse=fuse)


def draw(seed: int) -> Drawn:
    """The network of this seed; every optimizer comes in turn."""
    generator = np.random.default_rng(seed)
    names = sorted(OPTIMIZERS)
    sizes = generator.integers(2, 60, generator.integers(2, 6)).tolist()
    settings: dict[str, Any] = {}
    if generator.random() < 0.4:
        settings["weight_decay"] = 0.1
    if generator.random() < 0.2:
        settings |= {"clip_value": 0.05, "decay_all": True}
    cut = {"SMALL": int(generator.choice([0, 300, 4096])), "LEAST_CHUNK": 4}
    cut["BLOCKS"] = int(generator.choice([3, 9, 40]))
    rows = int(generator.integers(5, 40))
    return Drawn(seed, tuple(sizes), rows, names[seed % len(names)], settings, cut)


State = dict[str, Any]


def on_the_tape(drawn: Drawn, last_bits: int = 0, fuse: bool = False) -> State:
    """What training leaves: losses, parameters and the optimizer's state, running statistics.

    last_bits: the samples' are changed, by a seed. fuse: by the fused step instead, on the CPU.
    """
    (x, t, order), step, used = drawn.data(), drawn.step(drawn.model(), fuse), 0
    if last_bits:
        x = x * (
            1 + np.finfo(np.float64).eps * np.random.default_rng(last_bits).normal(size=x.shape)
        )
    losses = []
    for rows in drawn.batches():
        taken = order[used : used + rows]
        losses.append(float(step(x[taken], t[taken])))
        used += rows
    return state(step, losses)


def in_phases(drawn: Drawn, most_blocks: int = 0) -> State:
    """The same on the GPU, a launch a phase; or in as few launches as can be, of at most so many
    blocks.
    """
    with mock.patch.multiple(plan, **drawn.cut):
        step, data = drawn.step(drawn.model().to("cuda"), fuse=True), drawn.data()
        phased = phased_of(step, *data, rows=drawn.rows, most_blocks=most_blocks or None)
    assert phased.reason is None, phased.reason
    assert phased.holds()
    run_phased(phased, drawn.batches(), most_blocks > 0)
    return state(step, to_host(phased.resident.losses)[:STEPS].tolist())


def several_in_phases(drawn: Drawn, numbers: Sequence[int], most_blocks: int = 0) -> list[State]:
    """The same of the networks of these numbers, at once; they are alike and nothing else."""
    with mock.patch.multiple(plan, **drawn.cut):
        own = [resident_of(drawn, k) for k in numbers]
        if len(own) > 1:
            Stack([r.step.model for r in own], [r.step.optimizer for r in own])
        counted, xp = own[0].counters, own[0].xp
        shared = [(r.step, own[0].x, own[0].labels, r.order, r.losses, counted) for r in own]
        phased = Phased([Resident(*each) for each in shared], drawn.rows, most_blocks or None)
    assert phased.reason is None, phased.reason
    assert phased.holds()
    run_phased(phased, drawn.batches(), most_blocks > 0)
    xp.cuda.get_current_stream().synchronize()
    return [state(r.step, to_host(r.losses)[:STEPS].tolist()) for r in phased.residents]


def resident_of(drawn: Drawn, number: int) -> Resident:
    """Network `number` of those that are alike: weights, masks, order and settings are its own."""
    model = make(drawn.model(), number).to("cuda")
    settings = {**drawn.settings, "weight_decay": 0.1 * (number % 3)}
    drawn = replace(drawn, settings=settings)
    for layer in model:
        if isinstance(layer, gn.Dropout):
            layer.p, layer.calls = 0.3 * (number % 2), number
    step, (x, t, order) = drawn.step(model, fuse=True), drawn.data()
    optimizer = step.optimizer
    if optimizer.has_lr:
        optimizer.lr = gn.schedules.exponential(optimizer.lr * (1 + number), 0.9)
    optimizer.t = number  # that many updates ahead of the first
    order = np.roll(order, number)
    return phased_of(step, x, t, order, rows=drawn.rows).resident


def run_phased(phased: Phased, batches: list[int], persistent: bool) -> None:
    """Batches of so many rows: a launch a phase, or in as few launches as can be."""
    *alike, last = batches
    calls = [(len(alike), alike[0]), (1, last)] if persistent else [(1, k) for k in batches]
    own = phased.resident.counters
    for count, rows in calls:
        with counters.use(own):
            phased.many(rows, count) if persistent else phased.one(rows)
        own.advance(count, count, count * rows)


def phased_of(
    step: gn.Step, x: Any, t: Any, order: Any, rows: int, most_blocks: int | None = None
) -> Phased:
    """Steps from this data on the GPU, in this order, from its beginning."""
    on_gpu = [to_device(a, "cuda") for a in (x, t, order.astype(np.int64))]
    xp = array_module(on_gpu[0])
    counted = counters.Counters(xp)
    counted.set(row=0, batch=0)
    losses = xp.zeros(len(x), np.float64)
    return Phased([Resident(step, *on_gpu, losses, counted)], rows, most_blocks)


def state(step: gn.Step, losses: list[float]) -> State:
    found: State = {"losses": np.array(losses), "t": step.optimizer.t}
    found |= {name: to_host(p.data) for name, p in step.model.named_parameters()}
    found |= {name: to_host(a) for name, a in step.model.named_buffers()}
    for slot, arrays in step.optimizer.state_dict()["state"].items():
        found |= {f"{slot} {k}": to_host(a) for k, a in enumerate(arrays) if a is not None}
    return found


def difference(found: State, wanted: State) -> float:
    """The largest, of numbers above 1 relative to them."""
    assert found.keys() == wanted.keys()
    errors = [np.abs(found[k] - wanted[k]) / np.maximum(1, np.abs(wanted[k])) for k in wanted]
    return float(max(np.max(e, initial=0) for e in errors))


def same_bits(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(
        np.array_equal(found[k], wanted[k], equal_nan=True) for k in wanted
    )

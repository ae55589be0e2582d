"""Groups with settings of their own, weight decay on weights only, and rates that change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import schedules
from gpunet.backend import to_host
from tests.optim.cases import REPRESENTATIVES


def parameter(device: str, decay: bool = True, size: int = 3, dtype: Any = np.float64) -> Any:
    p = gn.Parameter(gn.to_device(np.ones(size, dtype), device), decay)
    p.grad = np.ones(size, dtype)
    return p


def first(p: Any) -> float:
    values = to_host(p.data)
    assert (values == values[0]).all()
    return float(values[0])


def test_each_group_has_its_own_rate_and_decay(device: str) -> None:
    p, q, r = (parameter(device) for _ in range(3))
    groups = [
        {"params": [p]},
        {"params": [q], "lr": 0.25},
        {"params": (x for x in [r]), "weight_decay": 1.0},
    ]
    optimizer = gn.SGD(groups, lr=0.5)
    optimizer.step()
    assert [first(x) for x in (p, q, r)] == [0.5, 0.75, 0.0]
    assert [g["lr"] for g in optimizer.groups] == [0.5, 0.25, 0.5]


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_groups_equal_optimizers_of_their_own(name: str, device: str) -> None:
    """Two dtypes, two groups, decayed and other parameters: nothing leaks from one to another."""
    kind = gn.OPTIMIZERS[name]
    made = [
        [parameter(device, d, 70, t) for d in (True, False) for t in (np.float32, np.float64)]
        for _ in range(4)
    ]
    a, b, a_alone, b_alone = made
    together = kind([{"params": a}, {"params": b, "weight_decay": 0.3}], weight_decay=0.1)
    alone = [kind(a_alone, weight_decay=0.1), kind(b_alone, weight_decay=0.3)]
    draw = np.random.default_rng(2)
    for _ in range(6):
        for p, q in zip(a + b, a_alone + b_alone, strict=True):
            p.grad = q.grad = draw.standard_normal(70).astype(p.dtype)
        together.step()
        for optimizer in alone:
            optimizer.step()
    for p, q in zip(a + b, a_alone + b_alone, strict=True):
        assert to_host(p.data).tobytes() == to_host(q.data).tobytes()


def test_rmsprop_groups_may_differ_in_their_state(device: str) -> None:
    p, q = parameter(device), parameter(device)
    groups = [{"params": [p]}, {"params": [q], "centered": True, "momentum": 0.5}]
    optimizer = gn.RMSProp(groups)
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert [a is None for a in state["grad_avg"]] == [True, False]
    assert [a is None for a in state["velocity"]] == [True, False]


@pytest.mark.parametrize("name", [*REPRESENTATIVES, "adamw"])  # which decays by itself
@pytest.mark.parametrize("decay_all", [False, True])
def test_weight_decay_reaches_what_it_should(name: str, decay_all: bool, device: str) -> None:
    def run(weight_decay: float) -> list[Any]:
        ps = [parameter(device), parameter(device, decay=False)]
        kind = gn.OPTIMIZERS[name]
        optimizer = kind(ps, weight_decay=weight_decay, decay_all=decay_all)
        for sign in (1, -1, 1, 1):
            for p in ps:
                p.grad = sign * np.array([0.5, -0.001, 0.25])
            optimizer.step()
        return [to_host(p.data) for p in ps]

    (decayed, other), (plain, plain_other) = run(0.1), run(0.0)
    assert (decayed != plain).any()
    assert (other != plain_other).any() == decay_all


def test_a_models_biases_and_batch_norms_are_not_decayed(device: str) -> None:
    model = gn.MLP([3, 4, 2], batch_norm=True).to(device)
    before = {k: to_host(v).copy() for k, v in model.state_dict().items()}
    optimizer = gn.SGD(model.parameters(), lr=1.0, weight_decay=0.5)
    optimizer.zero_grad()
    optimizer.step()
    for name, value in model.state_dict().items():
        factor = 0.5 if name.endswith("W") else 1.0
        np.testing.assert_array_equal(to_host(value), before[name] * np.float32(factor))


def test_a_new_rate_counts_from_the_next_step(device: str) -> None:
    p, q = parameter(device), parameter(device)
    optimizer = gn.SGD([{"params": [p]}, {"params": [q]}], lr=0.5)
    optimizer.step()
    optimizer.step()
    assert optimizer.lr == optimizer.current_lr() == 0.5
    optimizer.lr = 0.25
    optimizer.step()
    assert (first(p), first(q)) == (-0.25, -0.25)
    optimizer.groups[1]["lr"] = 1.0
    optimizer.step()
    assert (first(p), first(q)) == (-0.5, -1.25)
    optimizer.lr = schedules.step(0.5, every=5, factor=0.0)
    assert optimizer.current_lr() == 0.5
    optimizer.step()
    optimizer.step()
    assert (first(p), first(q)) == (-1.0, -1.75)
    assert optimizer.current_lr() == 0.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.constant(0.5),
        lambda: schedules.step(0.5, 100, 0.5),
        lambda: schedules.exponential(0.5, 0.99),
        lambda: schedules.inverse_time(0.5, 0.1),
        lambda: schedules.cosine(0.5, 280),
        lambda: schedules.warmup(schedules.cosine(0.5, 280), 20),
        lambda: schedules.piecewise([3, 257], [0.5, 0.25, 0.125]),
        lambda: lambda t: 0.5 / (1 + t),
    ],
)
def test_a_schedule_gives_the_rate_of_each_step(make: Any, device: str) -> None:
    """Over more steps than the scalar table holds, and changed by hand in between."""
    lr = make()
    p = parameter(device, size=1)
    optimizer = gn.SGD([p], lr=lr)
    expected = 1.0
    for t in range(300):
        assert optimizer.current_lr() == lr(t)
        optimizer.step()
        expected -= lr(t)
    assert first(p) == pytest.approx(expected, rel=1e-12)


def test_schedules_differ_by_group(device: str) -> None:
    p, q = parameter(device), parameter(device)
    rates = schedules.piecewise([1], [0.5, 0.25])
    optimizer = gn.SGD([{"params": [p]}, {"params": [q], "lr": rates}], lr=schedules.constant(1.0))
    optimizer.step()
    optimizer.step()
    assert (first(p), first(q)) == (-1.0, 0.25)


def test_the_velocity_form_keeps_the_old_rate(device: str) -> None:
    p = parameter(device, size=1)
    optimizer = gn.Momentum([p], lr=1.0, momentum=0.5)
    optimizer.step()
    optimizer.lr = 0.1
    p.grad = np.zeros(1)
    optimizer.step()
    assert first(p) == 1 - 1 - 0.5


def test_settings_are_shown() -> None:
    assert repr(gn.SGD(lr=0.5)) == "SGD(lr=0.5, weight_decay=0.0)"

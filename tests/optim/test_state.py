"""state_dict and load_state_dict: what is saved continues bit for bit."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import schedules
from gpunet.backend import device_of, to_host
from tests.optim import make_states
from tests.optim.cases import REPRESENTATIVES

OTHER = [("rmsprop", {"momentum": 0.9, "centered": True}), ("adam", {"eps_hat": True})]
CASES = [(name, {}) for name in REPRESENTATIVES] + OTHER
STATES = json.loads(make_states.FILE.read_text("utf-8"))


class Run:
    """An optimizer over two groups, two dtypes, decayed and other parameters."""

    def __init__(self, case: Any, device: str) -> None:
        name, settings = case
        draw = np.random.default_rng(0)
        self.ps = [
            gn.Parameter(gn.to_device(draw.standard_normal(shape).astype(dtype), device), decay)
            for shape, decay in (((4, 5), True), ((5,), False), ((), True))
            for dtype in (np.float32, np.float64)
        ]
        groups = [{"params": self.ps[:3]}, {"params": self.ps[3:], "weight_decay": 0.2}]
        if gn.OPTIMIZERS[name].has_lr:
            groups[0]["lr"] = schedules.warmup(schedules.exponential(0.01, 0.9), 3)
            groups[1]["lr"] = 0.02
        settings = settings | {"weight_decay": 0.1, "clip_norm": 2.0, "clip_value": 0.9}
        self.optimizer = gn.OPTIMIZERS[name](groups, **settings)

    def steps(self, first: int, last: int) -> None:
        for t in range(first, last):
            draw = np.random.default_rng(100 + t)
            for p in self.ps:
                p.grad = np.asarray(draw.standard_normal(p.shape), p.dtype)
            self.optimizer.step()

    def values(self) -> list[bytes]:
        return [to_host(p.data).tobytes() for p in self.ps]

    def take_weights(self, other: Run) -> None:
        for p, q in zip(self.ps, other.ps, strict=True):
            p.data = to_host(q.data)


def name_of(case: Any) -> str:
    return "-".join([case[0], *case[1]])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_it_continues_bit_for_bit(case: Any, device: str) -> None:
    straight, before, after = (Run(case, device) for _ in range(3))
    straight.steps(0, 10)
    before.steps(0, 5)
    state = before.optimizer.state_dict()
    before.steps(5, 7)  # what is saved must not change with what it was taken from
    again = Run(case, device)
    again.steps(0, 5)
    after.take_weights(again)
    after.optimizer.load_state_dict(state)
    assert after.optimizer.t == 5
    after.steps(5, 10)
    assert after.values() == straight.values()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_it_moves_between_devices(case: Any, cupy: Any) -> None:
    """A state is as good on the other device; its arrays arrive on the parameters' own."""
    for here, there in (("cpu", "cuda"), ("cuda", "cpu")):
        old, new = Run(case, here), Run(case, there)
        old.steps(0, 3)
        state = old.optimizer.state_dict()
        new.take_weights(old)
        new.optimizer.load_state_dict(state)
        for slot, arrays in new.optimizer.state_dict()["state"].items():
            for found, saved in zip(arrays, state["state"][slot], strict=True):
                if saved is None:
                    assert found is None
                    continue
                assert device_of(found) == there
                assert to_host(found).tobytes() == to_host(saved).tobytes()
        old.steps(3, 5)
        new.steps(3, 5)
        for p, q in zip(old.ps, new.ps, strict=True):
            np.testing.assert_allclose(to_host(p.data), to_host(q.data), rtol=1e-5)


def test_what_a_state_holds() -> None:
    run = Run(("adam", {}), "cpu")
    run.steps(0, 2)
    state = run.optimizer.state_dict()
    assert (state["optimizer"], state["t"], state["arrays"]) == ("Adam", 2, {})
    assert list(state["state"]) == ["m", "v"]
    assert [a.shape for a in state["state"]["m"]] == [p.shape for p in run.ps]
    assert [a.dtype for a in state["state"]["m"]] == [p.dtype for p in run.ps]
    assert "lr" not in state["groups"][0]  # a schedule is code: it is not saved
    assert state["groups"][1]["lr"] == 0.02


def test_settings_are_loaded_and_schedules_kept() -> None:
    p, q = (gn.Parameter(np.ones(2)) for _ in range(2))
    rate = schedules.constant(0.5)
    saved = gn.SGD([{"params": [p]}, {"params": [q], "lr": 0.125}], lr=rate).state_dict()
    fresh = gn.SGD([{"params": [p]}, {"params": [q]}], lr=rate)
    fresh.load_state_dict(saved)
    assert [g["lr"] for g in fresh.groups] == [rate, 0.125]


def test_a_state_read_from_json_and_lists() -> None:
    """A file gives lists for pairs, and plain numbers."""
    p, q = (gn.Parameter(np.ones(2)) for _ in range(2))
    old, new = gn.Adam([p], betas=(0.5, 0.75)), gn.Adam([q])
    p.grad = q.grad = np.ones(2)
    old.step()
    state = old.state_dict()
    state["groups"][0]["betas"] = [0.5, 0.75]
    state["state"] = {k: [a.tolist() for a in arrays] for k, arrays in state["state"].items()}
    new.load_state_dict(state)
    assert new.groups[0]["betas"] == (0.5, 0.75)
    assert new.state_dict()["state"]["m"][0].tolist() == [0.5, 0.5]


def damage(state: Any) -> list[tuple[Any, str]]:
    def changed(**parts: Any) -> Any:
        return {**copy.deepcopy(state), **parts}

    slots = state["state"]
    group = state["groups"][1]
    wrong_shape = [np.zeros(3), *slots["v"][1:]]
    return [
        ({}, "no state of Adam, but of None"),
        (changed(optimizer="NAdam"), "no state of Adam, but of 'NAdam'"),
        (changed(state={"m": slots["m"]}), "no state of Adam"),
        (changed(groups=[group]), "the state has 1 groups, Adam has 2"),
        (changed(groups=[group, {**group, "lr": -1}]), "^lr must be"),
        (changed(groups=[group, {**group, "rho": 0.9}]), "Adam has no setting rho"),
        (changed(t=-1), "t, the number of updates"),
        (changed(t=None), "t, the number of updates"),
        (changed(state={**slots, "v": slots["v"][:-1]}), "v: 5 arrays for 6 parameters"),
        (changed(state={**slots, "v": wrong_shape}), r"v of parameter 0 has shape \(4, 5\)"),
        (changed(state={**slots, "v": [*slots["v"][:-1], None]}), "v of parameter 5: the settings"),
        (
            changed(state={**slots, "v": [*slots["v"][:-1], "x"]}),
            "v of parameter 5 must be an array, got str",
        ),
    ]


@pytest.mark.parametrize("case", range(12))
def test_a_damaged_state_changes_nothing(case: int, device: str) -> None:
    run, other = Run(("adam", {}), device), Run(("adam", {}), device)
    run.steps(0, 2)
    other.steps(0, 4)
    before = run.optimizer.state_dict()
    given, message = damage(other.optimizer.state_dict())[case]
    with pytest.raises(ValueError, match=message):
        run.optimizer.load_state_dict(given)
    after = run.optimizer.state_dict()
    assert (after["t"], after["groups"]) == (before["t"], before["groups"])
    for slot, arrays in before["state"].items():
        for a, b in zip(arrays, after["state"][slot], strict=True):
            assert to_host(a).tobytes() == to_host(b).tobytes()


def test_options_that_make_other_arrays_are_told() -> None:
    p = gn.Parameter(np.ones(2))
    state = gn.RMSProp([p], momentum=0.9).state_dict()
    with pytest.raises(ValueError, match="velocity of parameter 0: the settings differ"):
        gn.RMSProp([p]).load_state_dict(state)


def test_the_arrays_of_update_are_saved_too(xp: Any) -> None:
    def run(optimizer: Any, params: Any, first: int, last: int) -> Any:
        for t in range(first, last):
            draw = np.random.default_rng(t)
            optimizer.update(params, {k: xp.asarray(draw.standard_normal(3)) for k in params})
        return optimizer

    whole, parts = ({"a": xp.ones(3), "b": xp.zeros(3)} for _ in range(2))
    run(gn.Adam(), whole, 0, 6)
    state = run(gn.Adam(), parts, 0, 3).state_dict()
    fresh = gn.Adam()
    fresh.load_state_dict(state)
    run(fresh, parts, 3, 6)
    for k, a in whole.items():
        assert to_host(a).tobytes() == to_host(parts[k]).tobytes()


@pytest.mark.parametrize("name", STATES)
def test_a_state_of_an_older_version_goes_on(name: str) -> None:
    optimizer, ps = make_states.made(name)
    saved = STATES[name]
    for p, values in zip(ps, saved["weights"], strict=False):
        p.data = np.array(values)
    kept = {"a": {slot: np.array(a) for slot, a in saved["state"]["arrays"]["a"].items()}}
    optimizer.load_state_dict({**saved["state"], "arrays": kept})
    params = {"a": np.array(saved["weights"][2])}
    for found, expected in zip(
        make_states.steps(optimizer, ps, params, 5, 8), saved["later"], strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)

"""A parameter with requires_grad False is moved by nothing, on any path; thawed, it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx, optim
from gpunet.backend import to_device, to_host
from gpunet.optim import native
from tests.optim.cases import FORMULAS, name_of

PATHS = ["tape", "fused", "captured tape", "captured", "trainer"]


def batch(device: str, seed: int = 0) -> tuple[Any, Any]:
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((12, 4)).astype(np.float32)
    return to_device(x, device), to_device(draw.integers(0, 3, 12), device)


class Run:
    """A small network whose updates use all there is: momentum, decay, clipping."""

    def __init__(self, device: str, case: Any = ("adam", {}), **settings: Any) -> None:
        gn.seed(3)
        self.model = gn.MLP([4, 6, 5, 3]).to(device)
        name, own = case
        self.optimizer = gn.OPTIMIZERS[name](self.model.parameters(), **own, **settings)
        self.device = device

    def stepper(self, path: str) -> Callable[[int], Any]:
        loss = gn.SoftmaxWithLoss()
        if path == "trainer":
            trainer = gn.Trainer(self.model, loss, self.optimizer, progress=False)
            return lambda k: trainer.fit(batch(self.device, k), epochs=1, batch_size=None)
        step = gn.Step(self.model, loss, self.optimizer, fuse="tape" not in path)
        run = gn.capture(step) if "captured" in path else step
        return lambda k: run(*batch(self.device, k))

    def freeze(self, frozen: bool = True, which: Any = (0, 1)) -> None:
        for k in which:
            self.model.parameters()[k].requires_grad = not frozen

    def held(self, k: int) -> list[bytes]:
        """Value and state of parameter k."""
        state = self.optimizer.state_dict()["state"].values()
        arrays = [self.model.parameters()[k].data, *(slot[k] for slot in state)]
        return [to_host(a).tobytes() for a in arrays if a is not None]


@pytest.mark.parametrize("case", FORMULAS, ids=name_of)
@pytest.mark.parametrize(
    "decay", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decay_all": 1}]
)
def test_no_formula_moves_what_is_frozen(case: Any, decay: Any, device: str) -> None:
    """With old gradients still there, old moments, signs and decay."""
    decay = {k: bool(v) if k == "decay_all" else v for k, v in decay.items()}
    run = Run(device, case, clip_norm=1.0, **decay)
    step = run.stepper("tape")
    step(0), step(1)
    run.freeze(which=(0, 3))
    before = [run.held(k) for k in range(6)]
    run.optimizer.step()  # the gradients of the last step, those of the frozen ones too
    step(2)
    after = [run.held(k) for k in range(6)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [
        True, False, False, True, False, False
    ]  # fmt: skip


@pytest.mark.parametrize("from_the_start", [True, False])
@pytest.mark.parametrize("path", PATHS)
def test_on_every_path_and_thawed_again(path: str, from_the_start: bool, device: str) -> None:
    """What is trained beside it does what it does on the tape; captured steps notice at once."""
    found = {}
    for way in ("tape", path):
        run = Run(device, weight_decay=0.01)
        step = run.stepper(way)
        for k in range(0 if from_the_start else 3):
            step(k)
        run.freeze()
        before = [run.held(k) for k in range(6)]
        for k in range(3, 6):
            step(k)
        moved = [run.held(k) != before[k] for k in range(6)]
        assert moved == [False, False, True, True, True, True]
        run.freeze(False)
        for k in range(6, 9):
            step(k)
        assert run.held(0) != before[0]
        assert run.optimizer.t == (6 if from_the_start else 9)
        found[way] = [to_host(p.data) for p in run.model.parameters()]
    for a, b in zip(found["tape"], found[path], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


def test_thawed_it_goes_on_from_the_kept_state(device: str) -> None:
    """Three steps, a pause, three more: as one parameter alone that had six."""
    p, q = (gn.Parameter(to_device(np.ones(3), device)) for _ in range(2))
    optimizer = gn.Momentum([p, q], lr=0.1)
    alone = gn.Parameter(to_device(np.ones(3), device))
    other = gn.Momentum([alone], lr=0.1)
    for k in range(9):
        p.requires_grad = not 3 <= k < 6
        p.grad = q.grad = alone.grad = np.full(3, k)
        optimizer.step()
        if p.requires_grad:
            other.step()
    assert to_host(p.data).tobytes() == to_host(alone.data).tobytes()
    assert optimizer.t == 9


def test_frozen_gradients_are_no_part_of_the_norm(device: str) -> None:
    p, q = (gn.Parameter(to_device(np.zeros(1), device)) for _ in range(2))
    optimizer = gn.SGD([p, q], lr=1.0, clip_norm=1.0)
    p.grad, q.grad = [1e6], [0.5]
    p.requires_grad = False
    optimizer.step()
    assert [float(to_host(a.data)[0]) for a in (p, q)] == [0.0, -0.5]


@pytest.mark.parametrize("clip", [None, 1.0])
def test_native_updates_too(clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not cxx.available()[0]:
        pytest.skip(cxx.available()[1])
    monkeypatch.setattr(native, "choice", lambda: "native")
    run = Run("cpu", ("lion", {}), clip_norm=clip)
    step = run.stepper("fused")
    step(0)
    run.freeze()
    before = run.held(0)
    step(1)
    assert run.held(0) == before


def test_runs_of_neighbours_are_one_launch_each() -> None:
    """The decayed ones lie first: W1 W2 W3, then b1 b2 b3."""
    run = Run("cpu")
    (segment,) = run.optimizer.segments
    for frozen, launches in (((), 1), ((0, 5), 1), ((2,), 2), (range(6), 0)):
        run.freeze(which=frozen)
        parts = segment.parts(False)
        assert len(parts) == launches
        assert segment.parts(False) is parts  # cut once, not every step
        run.optimizer.step()
        run.freeze(False, which=range(6))
    assert run.optimizer.t == 4


@pytest.mark.parametrize("kind", [optim.Lion, optim.RProp, optim.Momentum, optim.AdamW])
def test_one_without_a_gradient_has_the_gradient_zero(kind: Any, device: str) -> None:
    """Not frozen, only not reached by a backward: as if its gradient had been given as zeros."""

    def trained(by: str) -> bytes:
        values = to_device(np.full((2, 2), 2.0), device)
        p = gn.Parameter(values)
        optimizer = kind([p], weight_decay=0.1)
        kept = {"p": values}
        for k in range(4):
            grad = np.full((2, 2), 1.0 if k < 2 else 0.0)
            if by == "update":
                optimizer.update(kept, {"p": to_device(grad, device)})
                continue
            optimizer.zero_grad()
            if k < 2 or by == "zeros":
                p.grad = grad
            optimizer.step()
        return to_host(kept["p"] if by == "update" else p.data).tobytes()

    assert trained("none") == trained("zeros") == trained("update")


def test_update_leaves_out_what_is_left_out_of_the_dicts(xp: Any) -> None:
    optimizer, params = gn.Momentum(weight_decay=0.1), {k: xp.ones((2, 2)) for k in "ab"}
    optimizer.update(params, {k: xp.ones((2, 2)) for k in "ab"})
    before, state = to_host(params["a"]).tobytes(), optimizer.state_dict()["arrays"]["a"]
    optimizer.update({"b": params["b"]}, {"b": xp.ones((2, 2))})
    after = optimizer.state_dict()["arrays"]["a"]
    assert to_host(params["a"]).tobytes() == before
    assert to_host(state["velocity"]).tobytes() == to_host(after["velocity"]).tobytes()

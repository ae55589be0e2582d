"""gpunet.train.phased: trainings in phases, and why others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.phases.phased import Phased
from gpunet.testing import simgpu
from gpunet.train import phased

DRAW = np.random.default_rng(0)
X, T = DRAW.standard_normal((118, 12)), DRAW.integers(0, 5, 118)  # 29 batches of 4, and one of 2


def trainer(kind: Any = gn.Adam, device: str = "cuda", **settings: Any) -> gn.Trainer:
    gn.seed(1)
    model = gn.MLP([12, 16, 5], batch_norm=True, dropout=0.2, dtype="float64").to(device)
    optimizer = kind(model.parameters(), lr=gn.schedules.cosine(0.01, 100))
    return gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, **settings)


def fitted(epochs: int = 2, **settings: Any) -> gn.Trainer:
    made = trainer(**settings)
    made.fit((X, T), epochs=epochs, batch_size=4)
    return made


def left(trained: gn.Trainer) -> dict[str, Any]:
    """Parameters, statistics, and the optimizer's state."""
    state = trained.optimizer.state_dict()["state"]
    found = {f"{slot} {k}": a for slot, arrays in state.items() for k, a in enumerate(arrays)}
    return {name: to_host(a) for name, a in {**trained.model.state_dict(), **found}.items()}


def apart(a: gn.Trainer, b: gn.Trainer) -> float:
    first, second = left(a), left(b)
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


def test_a_training_in_phases_is_the_same_training(sim: Any, monkeypatch: Any) -> None:
    """Many updates in a launch, a graph of a kernel a phase, and those one by one: alike to the
    last bit; and to rounding the training without phases. Two fits go on as one.
    """
    with simgpu.trace() as calls:
        many = fitted(phases=True)
    assert many.how == "up to 50 updates in one kernel"
    assert [call.name for call in calls].count("steps") == 4  # of each epoch 29 updates, and one
    assert apart(many, fitted(phases=False)) < 1e-13
    two = trainer(phases=True)
    for _ in range(2):
        two.fit((X, T), epochs=1, batch_size=4)
    assert apart(many, two) == 0.0
    monkeypatch.setattr(Phased, "is_persistent", False)
    for capture in (True, False):
        nodes = fitted(phases=True, capture=capture)
        assert nodes.how.endswith(", in phases")
        assert apart(many, nodes) == 0.0
        assert nodes.history["train_loss"] == many.history["train_loss"]
        assert nodes.optimizer.t == many.optimizer.t


class Freeze(gn.Callback):
    """After the first epoch the first weights stay as they are."""

    def on_epoch(self, trainer: Any, row: Any) -> None:
        trainer.model.parameters()[0].requires_grad = False


def test_what_phases_cannot_follow_runs_without_them(sim: Any) -> None:
    settings = {"kind": gn.Momentum, "callbacks": [Freeze()]}
    many, plain = (fitted(phases=phases, **settings) for phases in (True, False))
    assert apart(many, plain) < 1e-13
    with pytest.raises(ValueError, match="phases=True: a parameter is frozen"):
        many.fit((X, T), epochs=1)


@pytest.mark.parametrize(
    ("settings", "fit", "reason"),
    [
        ({"phases": False}, {}, "phases=False"),
        ({}, {}, "30 updates an epoch; from 200 on they are thought to pay"),
        ({"long": 1}, {"accumulate": 2}, "gradients of several batches are added up"),
        ({"long": 1}, {"batch_size": 118, "stream": True}, "does not run fused from data on a GPU"),
        ({"fuse": False, "long": 1}, {}, "the model does not run fused from data on a GPU"),
        ({"device": "cpu"}, {}, "the model does not run fused from data on a GPU"),
    ],
)
def test_a_trainer_says_why_it_does_not(
    settings: dict[str, Any], fit: dict[str, Any], reason: str, sim: Any, monkeypatch: Any
) -> None:
    settings = dict(settings)
    monkeypatch.setattr(phased, "LONG", settings.pop("long", phased.LONG))
    made = trainer(**settings)
    made.fit((X, T), **{"epochs": 1, "batch_size": 4, **fit})
    assert "; not in phases: " in made.how
    assert made.how.endswith(reason), made.how


def test_phases_that_are_asked_for_and_cannot_be_had(sim: Any) -> None:
    made = trainer(phases=True)
    made.optimizer.clip_norm = 1.0
    before = left(made)
    with pytest.raises(ValueError, match="phases=True: clipping by the norm needs all gradients"):
        made.fit((X, T), epochs=1, batch_size=4)
    assert all(np.array_equal(before[name], a) for name, a in left(made).items())
    trainer(phases=True, device="cpu").fit((X, T), epochs=1)  # there it makes no difference


def test_a_kernel_that_does_not_start(sim: Any, monkeypatch: Any) -> None:
    """Its phases are launched one by one: the same training."""
    whole, many = fitted(phases=True), Phased.many

    def refused(self: Phased, rows: int, steps: int) -> None:
        raise RuntimeError("too many blocks in cooperative launch")

    monkeypatch.setattr(Phased, "many", refused)
    with pytest.warns(RuntimeWarning, match="cannot be had: too many blocks .* for each phase"):
        made = fitted(phases=True)
    assert apart(whole, made) == 0.0
    monkeypatch.setattr(Phased, "many", lambda *a: many(*a) if a[2] > 1 else refused(*a))
    with pytest.raises(RuntimeError, match="too many blocks"):  # later it is an error as any other
        fitted(phases=True)


def test_a_program_that_does_not_compile(sim: Any, monkeypatch: Any) -> None:
    """One warning, and the training goes on as without phases."""

    def broken(self: Phased) -> None:
        raise RuntimeError("NVRTC is missing")

    monkeypatch.setattr(Phased, "compile", broken)
    monkeypatch.setattr(phased, "LONG", 1)
    with pytest.warns(RuntimeWarning, match="without phases, .* NVRTC is missing"):
        made = fitted(1)
    assert made.how.endswith("they do not compile: NVRTC is missing")
    with pytest.raises(RuntimeError, match="NVRTC is missing"):
        fitted(1, phases=True)

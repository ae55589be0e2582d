"""A sweep: each network is the one that is trained alone, and the best of them is kept."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import Dataset, Split
from gpunet.study import pictures
from gpunet.study.sweep_picture import encode_sweep
from gpunet.study.sweeping import AT_ONCE, Sweep, sweep

RNG = np.random.default_rng(2)
LABELS = RNG.integers(0, 3, 120)
X = (RNG.normal(size=(120, 4)) + LABELS[:, None]).astype(np.float32)
CUTS = slice(0, 80), slice(80, 100), slice(100, 120)
CLASSES = Dataset("three", *(Split(X[cut], LABELS[cut]) for cut in CUTS), ["a", "b", "c"])
NUMBERS = Dataset("line", *(Split(X[cut], X[cut, :1] * 2) for cut in CUTS), None)


@pytest.fixture(scope="module")
def found() -> Sweep:
    return sweep(
        CLASSES, [(6,), (5, 4)], "momentum", seeds=2, epochs=4, batch_size=16, patience=2,
        dropout=[0.0, 0.3], lr=[0.01, 0.1, 1e30], network={"batch_norm": True},
    )  # fmt: skip


def test_every_combination_is_a_network(found: Sweep) -> None:
    assert len(found.outcomes) == 2 * 2 * 2 * 3
    assert len(found.combinations()) == 12
    losses = [outcome.loss for outcome in found.outcomes]
    assert losses == sorted(losses)
    assert list(found.varied) == ["hidden", "dropout", "lr"]
    assert all(o.failed and o.loss == np.inf for o in found.outcomes if o.settings["lr"] == 1e30)


def test_each_is_the_network_that_is_trained_alone(found: Sweep) -> None:
    outcome = next(o for o in found.outcomes if o.settings["hidden"] == (5, 4) and o.seed == 1)
    gn.seed(1)
    model = gn.MLP([4, 5, 4, 3], batch_norm=True, dropout=0.3)
    for layer in model:
        if isinstance(layer, gn.Dropout):
            layer.p = outcome.settings["dropout"]
    optimizer = gn.Momentum(model.parameters(), lr=outcome.settings["lr"])
    callbacks = [gn.EarlyStopping(2)]
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, progress=False)
    history = trainer.fit(CLASSES.train, CLASSES.valid, epochs=4, batch_size=16, seed=1)
    assert outcome.history["valid_loss"] == history["valid_loss"]


def test_the_model_is_that_of_the_best(found: Sweep) -> None:
    assert found.model is not None
    trainer = gn.Trainer(found.model, gn.SoftmaxWithLoss(), None)  # type: ignore[arg-type]
    assert trainer.evaluate(CLASSES.valid)["loss"] == found.best.loss


def test_what_each_value_leads_to(found: Sweep) -> None:
    assert [value for value, _ in found.along("lr")] == [0.01, 0.1, 1e30]
    [*_, (_, overflown)] = found.along("lr")
    assert overflown == np.inf
    best = found.combinations()[0][1]
    lowest = min(loss for _, loss in found.along("dropout"))
    assert lowest == sum(outcome.loss for outcome in best) / 2


def test_table_and_picture(found: Sweep) -> None:
    first, second = found.text(most=1).splitlines()
    assert first.split() == ["hidden", "dropout", "lr", "valid", "loss", "accuracy", "epoch"]
    assert second.split()[0] == ",".join(map(str, found.combinations()[0][0]["hidden"]))
    rows = list(csv.DictReader(found.to_csv().decode().splitlines()))
    assert len(rows) == 24
    assert rows[-1]["valid_loss"] == ""
    assert rows[-1]["stopped"].startswith("stopped: training became non-finite")
    if pictures.can_plot():
        assert set(encode_sweep(found, "three")) == {"sweep.png", "sweep.svg"}


def test_numbers_as_targets_and_more_than_one_step_holds() -> None:
    told: list[int] = []
    found = sweep(
        NUMBERS, [(3,)], "sgd", epochs=1, seeds=AT_ONCE + 3, lr=[0.01], progress=told.append
    )
    assert told == [AT_ONCE, 3]
    assert found.best.accuracy is None
    assert found.text().splitlines()[0].split() == ["hidden", "valid", "loss", "epoch"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lr": []}, "lr has no value"),
        ({"momentum": [0.5]}, "Adam has no setting 'momentum'"),
        ({"data": Dataset("x", CLASSES.train, Split(X[:0], LABELS[:0]), CLASSES.test, ["a"])},
         "x: no validation rows"),
    ],
)  # fmt: skip
def test_mistakes(given: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        sweep(**{"data": CLASSES} | given)

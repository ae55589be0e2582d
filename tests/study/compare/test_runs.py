"""One run: the numbers of the Trainer, from the same start for everyone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import Dataset, Split
from gpunet.study.compare import runs
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.runs import Result

SETUP = Setup(hidden=(8,), epochs=3, batch_size=16)


def train(run: Run, setup: Setup, data: Dataset) -> Result:
    [result] = runs.train([run], setup, data)
    return result


def numbers(result: Result) -> object:
    return result.train_loss, result.valid_loss, result.valid_accuracy, result.test_loss


def test_the_same_run_gives_the_same_numbers(small: Dataset) -> None:
    first, other = (
        train(Run("adam", 0.01, 1), SETUP, small),
        train(Run("sgd", 1.0, 2), SETUP, small),
    )
    assert numbers(train(Run("adam", 0.01, 1), SETUP, small)) == numbers(first)
    assert numbers(other) != numbers(first)


def test_it_is_what_the_trainer_does_by_hand(small: Dataset) -> None:
    gn.seed(1)
    model = gn.MLP([3, 8, 2])
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Momentum(model.parameters(), lr=0.05))
    start = trainer.evaluate(small.valid)["loss"]
    history = trainer.fit(small.train, small.valid, 3, 16, seed=1)
    result = train(Run("momentum", 0.05, 1), SETUP, small)
    assert result.valid_loss == [start, *history["valid_loss"]]
    assert result.train_loss[1:] == history["train_loss"]
    assert result.valid_accuracy is not None
    assert result.valid_accuracy[1:] == history["valid_accuracy"]
    assert result.seconds[0] == 0
    assert all(np.diff(result.seconds) > 0)


def test_every_optimizer_starts_from_the_same_weights(small: Dataset) -> None:
    setup = Setup(hidden=(8,), epochs=1, batch_size=16)
    for seed in (0, 1):
        starts = [
            train(Run(name, None, seed), setup, small).valid_loss[0] for name in gn.OPTIMIZERS
        ]
        assert len(set(starts)) == 1
        if seed == 0:
            first = starts[0]
    assert starts[0] != first


def test_the_test_rows_are_seen_by_the_best_epoch(small: Dataset) -> None:
    result = train(Run("sgd", 3.0, 0), Setup((8,), 4, 16), small)
    best = min(result.valid_loss[1:])
    assert result.valid_loss.index(best) < 4, "the case needs a best epoch that is not the last"
    as_test = Dataset("same", small.train, small.valid, small.valid, small.classes)
    assert train(Run("sgd", 3.0, 0), Setup((8,), 4, 16), as_test).test_loss == best


def test_runs_in_one_step_are_those_that_are_trained_alone(small: Dataset) -> None:
    """One of them overflows, and two begin from other weights."""
    together = [Run("momentum", lr, seed) for seed in (0, 1) for lr in (0.01, 1e30, 0.3)]
    found = runs.train(together, SETUP, small)
    assert [result.run for result in found] == together
    alone = [train(run, SETUP, small) for run in together]
    assert list(map(numbers, found)) == list(map(numbers, alone))
    assert [result.nonfinite for result in found] == [result.nonfinite for result in alone]
    assert found[1].nonfinite is not None


def test_numbers_as_targets_have_no_accuracy(small: Dataset) -> None:
    parts = [Split(p.x, p.x[:, :1] * 2) for p in (small.train, small.valid, small.test)]
    result = train(Run("adam", 0.01, 0), SETUP, Dataset("numbers", *parts, None))
    assert result.valid_accuracy is result.accuracy is result.test_accuracy is None
    assert result.loss < result.valid_loss[0]
    assert result.test_loss is not None


def test_what_becomes_infinite_is_told_with_its_place(small: Dataset) -> None:
    parts = [Split(p.x, p.x[:, :1] * 2) for p in (small.train, small.valid, small.test)]
    result = train(Run("sgd", 1e6, 0), SETUP, Dataset("numbers", *parts, None))
    assert result.nonfinite is not None
    assert result.nonfinite[0] == 1
    assert result.diverged is not None
    assert result.diverged.startswith(f"epoch 1, step {result.nonfinite[1]}: not finite, first in ")
    assert result.test_loss is None


@pytest.mark.parametrize(
    ("curve", "when"),
    [
        ((2.0, 1.0, 0.5), None),
        ((2.0, 9.0, 0.5), None),
        ((2.0, 2.001, 2.0015), None),
        ((2.0, 1.0, 2.5), "from epoch 2 on"),
        ((2.0, 3.0, 2.5), "from epoch 1 on"),
        ((2.0, 1.0, math.inf), "from epoch 2 on"),
    ],
)
def test_diverged(make: Callable[..., Result], curve: tuple[float, ...], when: str | None) -> None:
    found = make(train=curve).diverged
    assert (found is None) if when is None else (found is not None and found.startswith(when))


def test_an_interrupted_run_is_no_result(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: gn.Ensemble, *arguments: object) -> list[gn.History]:
        self.histories[0].stopped = "interrupted"
        return self.histories

    train(Run("adam", 0.01, 0), SETUP, small)  # warm
    monkeypatch.setattr(gn.Ensemble, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        train(Run("adam", 0.01, 0), SETUP, small)
    monkeypatch.setattr(runs, "_warm", set())
    with pytest.raises(KeyboardInterrupt):
        train(Run("adam", 0.01, 0), SETUP, small)

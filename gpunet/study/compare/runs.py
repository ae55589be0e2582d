"""Runs: the network trained by one optimizer, several rates or seeds at once, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from weakref import WeakKeyDictionary

import gpunet as gn
from gpunet.data import Dataset, Split
from gpunet.study.compare.grid import Run, Setup
from gpunet.train.history import Row

Scores = Mapping[str, float]

# A loss this much above the untrained network's is more than the rounding of a mean.
RISEN = 1.001


@dataclass(frozen=True)
class Result:
    """Curves with one value an epoch; place 0 is the untrained network.

    An accuracy or test figure is None where the data have numbers as targets, or no test rows. A
    loss that is no finite number is inf. seconds: since the start, validation included; of runs in
    one step each has its share. The test rows are seen once, by the network of the best of the
    trained epochs.
    """

    run: Run
    train_loss: list[float]
    valid_loss: list[float]
    valid_accuracy: list[float] | None
    seconds: list[float]
    test_loss: float | None = None
    test_accuracy: float | None = None
    nonfinite: tuple[int, int, str] | None = None
    """(epoch, step, place) of a NonFiniteError, which ends the run."""
    failed: str | None = None
    """What ended the run, if it gave no numbers at all: its losses are inf."""

    @property
    def best_epoch(self) -> int:
        """Where the validation loss was lowest."""
        return min(range(len(self.valid_loss)), key=lambda k: self.valid_loss[k])

    @property
    def loss(self) -> float:
        """The lowest validation loss."""
        return self.valid_loss[self.best_epoch]

    @property
    def accuracy(self) -> float | None:
        """The validation accuracy of the best epoch."""
        return None if self.valid_accuracy is None else self.valid_accuracy[self.best_epoch]

    @property
    def diverged(self) -> str | None:
        """When and how, or None: it failed, it became non-finite, or its training loss ended above
        that of the untrained network, and from which epoch on.
        """
        if self.failed:
            return f"not trained: {self.failed}"
        if self.nonfinite:
            epoch, step, place = self.nonfinite
            return f"epoch {epoch}, step {step}: not finite, first in {place}"
        limit = RISEN * self.train_loss[0]
        risen = len(self.train_loss)
        while risen > 1 and self.train_loss[risen - 1] > limit:
            risen -= 1
        if risen == len(self.train_loss):
            return None
        return f"from epoch {risen} on: training loss above its start"


# What networks of a seed are before the training, evaluated once a process.
_starts: WeakKeyDictionary[Dataset, dict[tuple[Setup, int], list[Scores]]] = WeakKeyDictionary()


def attempt(runs: Sequence[Run], setup: Setup, data: Dataset) -> list[Result]:
    """`train`, or how it failed: others may do better, with less memory for instance."""
    try:
        return train(runs, setup, data)
    except Exception as error:  # an optimizer, a layer or a driver may raise anything
        if len(runs) == 1:
            return [failure(runs[0], data, f"{type(error).__name__}: {error}")]
        return [result for run in runs for result in attempt([run], setup, data)]


def failure(run: Run, data: Dataset, reason: str) -> Result:
    """The result of a run that gave no numbers."""
    accuracy = None if data.classes is None else [0.0]
    words = " ".join(reason.split())
    return Result(run, [math.inf], [math.inf], accuracy, [0.0], failed=words)


def train(runs: Sequence[Run], setup: Setup, data: Dataset) -> list[Result]:
    """Train runs of one optimizer, in one step; each gives the numbers that it gives alone (to
    rounding, where the loss is not fused).

    Initial weights and the order of the batches depend on the seed alone. KeyboardInterrupt after
    Ctrl-C; ValueError for data that do not fit.
    """
    _warm_up(runs[0].optimizer, setup, data)
    ensemble = _ensemble(runs, setup, data)
    before = _starts.setdefault(data, {})  # runs of one seed start alike
    for k, run in enumerate(runs):
        if (setup, run.seed) not in before:
            parts = data.train, data.valid
            before[setup, run.seed] = [ensemble.evaluate(part, [k])[0] for part in parts]
    histories = ensemble.fit(data.train, data.valid, setup.epochs, setup.batch_size)
    if any(history.stopped == "interrupted" for history in histories):
        raise KeyboardInterrupt
    sound = [k for k, error in enumerate(ensemble.errors) if error is None]
    tests = (
        dict(zip(sound, ensemble.evaluate(data.test, sound), strict=True)) if len(data.test) else {}
    )
    return [
        _result(
            run, before[setup, run.seed], histories[k].rows, tests.get(k, {}), ensemble.errors[k]
        )
        for k, run in enumerate(runs)
    ]


def _result(
    run: Run,
    before: Sequence[Scores],
    rows: Sequence[Row],
    test: Scores,
    error: gn.NonFiniteError | None,
) -> Result:
    """before: on the training and on the validation rows, untrained."""
    start, valid = before
    accuracy = None
    if "accuracy" in valid:
        accuracy = [valid["accuracy"], *(row["valid_accuracy"] for row in rows)]
    return Result(
        run=run,
        train_loss=_finite([start["loss"], *(row["train_loss"] for row in rows)]),
        valid_loss=_finite([valid["loss"], *(row["valid_loss"] for row in rows)]),
        valid_accuracy=accuracy,
        seconds=list(accumulate((row["seconds"] for row in rows), initial=0.0)),
        test_loss=test["loss"] if math.isfinite(test.get("loss", math.inf)) else None,
        test_accuracy=test.get("accuracy"),
        nonfinite=None if error is None else (error.epoch, error.step, error.place),
    )


def _ensemble(runs: Sequence[Run], setup: Setup, data: Dataset) -> gn.Ensemble:
    def model() -> gn.Layer:
        return gn.MLP([data.features, *setup.hidden, data.outputs])

    rates = [run.lr for run in runs]
    settings: dict[str, Any] = {} if None in rates else {"lr": rates}
    return gn.Ensemble(
        model,
        len(runs),
        runs[0].optimizer,
        gn.SoftmaxWithLoss() if data.classes is not None else gn.MeanSquaredError(),
        seeds=[run.seed for run in runs],
        device=setup.device,
        callbacks=[gn.EarlyStopping(patience=None)],
        progress=False,
        **settings,
    )


_warm: set[tuple[str, Setup]] = set()


def _warm_up(optimizer: str, setup: Setup, data: Dataset) -> None:
    """Once a process, a step that is not timed: it compiles the kernels, or loads what is slow."""
    if (optimizer, setup) in _warm:
        return
    few = Split(data.train.x[: setup.batch_size], data.train.t[: setup.batch_size])
    ensemble = _ensemble([Run(optimizer, None, 0)], setup, data)
    if ensemble.fit(few, few, 1, setup.batch_size)[0].stopped == "interrupted":
        raise KeyboardInterrupt
    _warm.add((optimizer, setup))


def _finite(values: list[float]) -> list[float]:
    """nan compares with nothing, inf as it should."""
    return [value if math.isfinite(value) else math.inf for value in values]

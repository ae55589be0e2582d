"""The models of an ensemble beside one another."""

from __future__ import annotations

import numpy as np

import gpunet as gn
from tests.ensemble.test_ensemble import SHAPES, TRAIN, VALID


def test_the_best_first() -> None:
    lrs = [1e-4, 0.1, 1e30]
    ensemble = gn.Ensemble(SHAPES["plain"], 3, gn.SGD, lr=lrs, progress=False)
    assert [row["model"] for row in ensemble.ranking()] == [0, 1, 2]
    assert "not started" in ensemble.table()
    ensemble.fit(TRAIN, VALID, epochs=3, batch_size=16)
    first, second, last = ensemble.ranking()
    assert first == {
        "model": 1, "seed": 1, "lr": 0.1, "epoch": ensemble.histories[1].best_epoch,
        "train_loss": ensemble.histories[1].best["train_loss"],
        "valid_loss": ensemble.scores[1],
        "valid_accuracy": ensemble.histories[1].best["valid_accuracy"],
        "epochs": 3, "stopped": "all epochs done",
    }  # fmt: skip
    assert (second["model"], last["model"]) == (0, 2)
    assert first["model"] == ensemble.best == int(np.argmin(ensemble.scores))
    assert (last["epochs"], ensemble.scores[2]) == (0, np.inf)
    lines = ensemble.table(2).splitlines()
    assert [line.split()[0] for line in lines] == ["model", "1", "0"]
    assert lines[0].split() == list(first)
    assert f"{first['valid_loss']:.4g}" in lines[1]
    failed = ensemble.table().splitlines()[3]
    assert "  stopped: " in failed
    assert failed.endswith(" ...")
    assert ensemble._repr_html_().count("<tr>") == 4


def test_without_validation_rows() -> None:
    ensemble = gn.Ensemble(SHAPES["plain"], 2, gn.SGD, lr=[1e-4, 0.1], progress=False)
    ensemble.fit(TRAIN, epochs=2, batch_size=16)
    assert [row["model"] for row in ensemble.ranking()] == [1, 0]
    assert ensemble.ranking()[0]["train_loss"] == ensemble.scores[1]

"""`gpunet sweep`: the table, the files, the best model; mistakes in one line."""

from __future__ import annotations

import csv
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import gpunet as gn
from gpunet.commands.sweep import sweep
from gpunet.study import pictures


@pytest.fixture
def data(tmp_path: Path) -> str:
    generator = np.random.Generator(np.random.Philox(3))
    x = generator.normal(size=(120, 3)).astype(np.float32)
    np.savez(tmp_path / "two.npz", x=x, t=(x[:, 0] > 0).astype(np.int64))
    return str(tmp_path / "two.npz")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(sweep, arguments, standalone_mode=False)


def test_the_best_network_is_told_and_kept(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "can_plot", lambda: False)
    given = ["--hidden", "4", "--hidden", "5,4", "--lr", "0.01,0.1", "--dropout", "0,0.2"]
    out = tmp_path / "out"
    done = call(data, *given, "--epochs", "3", "--seeds", "2", "--out", str(out))
    assert done.exception is None, done.output
    assert "16 networks, training on cpu" in done.output
    assert "the best of them on the test rows: loss" in done.output
    rows = list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))
    assert len(rows) == 16
    assert sorted(float(row["valid_loss"]) for row in rows) == [
        float(row["valid_loss"]) for row in rows
    ]
    predictor = gn.Predictor.load(out / "model.safetensors")
    assert predictor.predict(np.zeros((2, 3), np.float32)).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lr", "fast"], "'fast' is no learning rate"),
        (["--dropout", "1"], "1 is not a share"),
        (["--weight-decay", "-1"], "-1 is not a number from 0"),
        (["--optimizer", "cocob", "--lr", "0.1"], "COCOB has no learning rate"),
        (["--seeds", "1000"], "networks; at most 4096"),
        (["--hidden", "0"], "'0' is not a list of layer sizes"),
        (["--out", f"{__file__}/x"], "cannot write there"),
    ],
)
def test_a_mistake_is_one_line(data: str, arguments: list[str], said: str) -> None:
    error = call(data, *arguments).exception
    assert isinstance(error, click.ClickException), error
    assert said in error.format_message()
    assert "\n" not in error.format_message()

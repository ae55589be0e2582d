"""`gpunet train`: how it trains, what it ends with, and the options as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import metrics
from gpunet.commands.scheduling import Scheduling
from tests.console import Run, assert_one_line

SMALL = ["--hidden", "8", "--epochs", "3", "--device", "cpu"]


def summary_in(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(folder) / "summary.json").read_text())
    return found


def table(path: Path, rows: int, seed: int = 0, label: bool = True) -> None:
    """Two classes that a and b tell, one of them rare, or a number near 200,000."""
    draw = np.random.default_rng(seed)
    lines = ["a,b,y"]
    for a, b in draw.normal(size=(rows, 2)):
        lines.append(f"{a},{b},{('rare' if a + b > 1.5 else 'often') if label else 2e5 + 5e4 * a}")
    path.write_text("\n".join(lines) + "\n")


# The network and the optimizer


def test_each_option_reaches_the_training(gpunet: Run) -> None:
    options = [
        "--activation",
        "gelu",
        "--weight-decay",
        "0.01",
        "--clip-norm",
        "0.05",
        "--lr",
        "0.1",
    ]
    assert gpunet("train", *SMALL, *options, "--schedule", "step:1").code == 0
    summary = summary_in("gpunet-out")
    model: Any = gn.load("gpunet-out/model.safetensors")
    assert model.activation == "gelu"
    assert "lr=step(0.1, 40, 0.1)" in summary["optimizer"]
    assert "weight_decay=0.01" in summary["optimizer"]
    clipped = Path("gpunet-out/model.safetensors").read_bytes()
    gpunet("train", *SMALL, *options[:4], "--lr", "0.1", "--schedule", "step:1")
    assert Path("gpunet-out/model.safetensors").read_bytes() != clipped
    lines = Path("gpunet-out/history.csv").read_text().splitlines()
    rates = [float(line.split(",")[-2]) for line in lines[1:]]
    assert rates == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("cosine", [1, 0.8535534, 0.5, 0.1464466]),
        ("step:2", [1, 1, 0.1, 0.1]),
        ("exponential:0.5", [1, 0.5, 0.25, 0.125]),
        ("inverse-time:1", [1, 1 / 2, 1 / 3, 1 / 4]),
        ("warmup", [0.5, 1, 1, 1]),
        ("Warmup+Cosine", [0.5, 0.895, 0.541, 0.161]),
    ],
)
def test_schedules_over_four_epochs(text: str, rates: list[float]) -> None:
    """Of ten updates each; so the first two of forty are the rise."""
    found = Scheduling.parsed(text)
    assert Scheduling.parsed(str(found)) == found
    rate = found.over(1.0, 4, 10)
    values = [rate(10 * k) if callable(rate) else rate for k in range(4)]
    assert values == pytest.approx(rates, abs=0.06)
    assert (values[0] < 1) == found.warms


def test_balanced_classes(gpunet: Run, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 600)
    options = ["--epochs", "1", "--hidden", "4", "--lr", "0.003", "--device", "cpu"]
    found = {}
    for given in ((), ("--class-weights", "balanced"), ("--class-weights", "rare=1000,often=1")):
        assert gpunet("train", "t.csv", *options, *given).code == 0
        predictor = gn.Predictor.load("gpunet-out/model.safetensors")
        found[given] = (predictor.predict("t.csv") == "rare").mean()
    plain, balanced, much = found.values()
    assert plain < balanced < much


# What it ends with


def test_the_best_epoch_is_kept_and_patience_ends(gpunet: Run) -> None:
    result = gpunet("train", *SMALL, "--epochs", "60", "--lr", "0.1", "--patience", "3")
    summary = summary_in("gpunet-out")
    lines = Path("gpunet-out/history.csv").read_text().splitlines()
    place = lines[0].split(",").index("valid_loss")
    losses = [float(line.split(",")[place]) for line in lines[1:]]
    assert summary["epoch"] == int(np.argmin(losses)) + 1 == summary["epochs"] - 3
    assert summary["valid_loss"] == pytest.approx(min(losses))
    assert "; no better validation loss for 3 epochs" in result.out
    assert f"the model is that of epoch {summary['epoch']}," in result.out


def test_numbers_are_told_in_their_unit(gpunet: Run, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 300, label=False)
    result = gpunet("train", "t.csv", *SMALL, "--epochs", "30", "--lr", "0.01")
    summary = summary_in("gpunet-out")
    assert summary["test_r2"] > 0.9
    assert 100 < summary["test_mae"] < summary["test_rmse"] < 20_000
    assert f"R2 {summary['test_r2']:.4f}, MAE {summary['test_mae']:.4g}" in result.out
    again = gpunet("evaluate", "gpunet-out", "t.csv")
    assert "R2 0.9" in again.out


def test_rows_of_their_own_to_test_on(gpunet: Run, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 300)
    table(tmp_path / "other.csv", 77, seed=5)
    result = gpunet("train", "t.csv", *SMALL, "--test", "other.csv", "--valid-share", "0.2")
    assert "240 rows to train, 60 to validate, those of other.csv to test" in result.out
    assert "on other.csv: accuracy" in result.out
    assert "of 77 rows" in result.out
    predictor = gn.Predictor.load("gpunet-out/model.safetensors")
    assert summary_in("gpunet-out")["test_accuracy"] == predictor.score("other.csv")
    assert summary_in("gpunet-out")["test_loss"] is None


def test_scores_are_those_of_the_test_rows(gpunet: Run) -> None:
    gpunet("train", *SMALL)
    data = gn.data.digits()
    model = gn.load("gpunet-out/model.safetensors").eval()
    called = model(data.test.x).numpy().argmax(1)
    f1 = metrics.scores(metrics.confusion(data.test.t, called, 10)).f1.mean()
    assert summary_in("gpunet-out")["test_f1"] == pytest.approx(f1)


# The options as a file


def test_the_options_can_be_given_back(gpunet: Run) -> None:
    options = ["--activation", "leaky_relu", "--schedule", "warmup+exponential:0.9", "--seed", "3"]
    options += [
        "--class-weights",
        "1=2,7=0.5",
        "--batch-norm",
        "--dropout",
        "0.1",
        "--patience",
        "9",
    ]
    gpunet("train", *SMALL, *options, "--out", "one")
    written = Path("one/config.toml").read_bytes()
    assert gpunet("train", "--config", "one/config.toml", "--out", "two").code == 0
    assert Path("two/config.toml").read_bytes() == written.replace(b'"one"', b'"two"')
    models = [Path(out, "model.safetensors").read_bytes() for out in ("one", "two")]
    assert models[0] == models[1]
    assert gpunet("train", "--config", "one/config.toml", "--seed", "4", "--out", "three").code == 0
    assert Path("three/model.safetensors").read_bytes() != models[0]


def test_a_file_by_hand(gpunet: Run, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 100)
    text = (
        'data = "t.csv"\nhidden = [5, 4]\nbatch-norm = true\nepochs = 1\nlr = 0.01\ndevice="cpu"\n'
    )
    (tmp_path / "c.toml").write_text(text + "hidden_layers = 3\n")
    assert_one_line(
        gpunet("train", "--config", "c.toml"), "c.toml: unknown setting 'hidden_layers'"
    )
    (tmp_path / "c.toml").write_text(text)
    assert gpunet("train", "--config", "c.toml").code == 0
    model: Any = gn.load("gpunet-out/model.safetensors")
    assert (model.sizes, model.batch_norm) == ([2, 5, 4, 2], True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "c.toml: not a TOML file: "),
        ("epochs = 'x'", "--epochs.*'x' is not a valid integer"),
        ("epochs = true", "c.toml: epochs must be a number, a text or a list, got True"),
        ("batch_norm = 1", "c.toml: batch_norm is true or false, got 1"),
        ("[epochs]\nn = 1", "c.toml: epochs must be a number"),
        ("resume = true", "unknown setting 'resume'"),
        ("optimiser = 'adam'", "unknown setting 'optimiser'; did you mean optimizer?"),
        (b"\xff\xfe", "c.toml: not a TOML file"),
        (None, "c.toml.*(does not exist|No such file)"),
    ],
)
def test_files_that_are_none(gpunet: Run, tmp_path: Path, text: Any, message: str) -> None:
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "c.toml").write_bytes(content)
    assert_one_line(gpunet("train", "--config", "c.toml"), message)
    assert not (tmp_path / "gpunet-out").exists()


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--schedule", "cosin"], "unknown schedule 'cosin'; did you mean cosine"),
        (["--schedule", "step:0"], "step takes a number above 0"),
        (["--schedule", "cosine:3"], "cosine takes no number"),
        (["--schedule", "cosine+step"], r"before the \+ stands warmup"),
        (
            ["--schedule", "cosine", "--optimizer", "cocob"],
            "--schedule: COCOB has no learning rate",
        ),
        (["--activation", "rely"], "unknown activation 'rely'; did you mean relu"),
        (["--weight-decay", "-1"], "-1 is not a number from 0"),
        (["--clip-norm", "0"], "0 is not a number above 0"),
        (["--class-weights", "some"], "neither balanced nor weights such as"),
        (["--class-weights", "ten=1"], "there is no class 'ten'; there are 0, 1"),
        (["--patience", "0"], "--patience.*0 is not in the range"),
        (["--valid-share", "1"], "1 is not a share from 0 to below 1"),
        (["--valid-share", "0", "--patience", "2"], "--patience looks at validation rows"),
        (["--test", "gone.csv"], "gone.csv"),
        (["--test", "t.csv"], "t.csv"),
    ],
)
def test_mistakes(gpunet: Run, tmp_path: Path, options: list[str], message: str) -> None:
    table(tmp_path / "t.csv", 30)
    assert_one_line(gpunet("train", *SMALL, *options), message)


def test_class_weights_of_numbers(gpunet: Run, tmp_path: Path) -> None:
    table(tmp_path / "t.csv", 60, label=False)
    result = gpunet("train", "t.csv", *SMALL, "--class-weights", "balanced")
    assert_one_line(result, "--class-weights: the targets are numbers, not classes")

"""`gpunet train`: what a user types, what is written, and one line for every mistake."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import gpunet as gn
from gpunet import cli, machine
from gpunet.data import digits, load
from gpunet.outputs import Outputs
from gpunet.sealing import unseal
from gpunet.study import pictures
from gpunet.train import fit
from tests.console import Result, Run, assert_one_line, process

pytestmark = pytest.mark.usefixtures("ctrl_c")

FASHION = Path("/usr/share/datasets/fashion-mnist")
KEYS = {
    "dataset", "device", "epochs", "train_loss", "valid_accuracy", "test_accuracy", "seconds",
    "parameters", "steps_per_second",
}  # fmt: skip
FILES = ["config.toml", "curves.png", "history.csv", "model.safetensors", "summary.json"]
WITHOUT_PICTURE = [name for name in FILES if name != "curves.png"]
SHORT = ["--epochs", "2", "--device", "cpu"]
SMALL = ["--hidden", "32", "--lr", "0.01"]


def summary_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


# What is written


def test_the_defaults_read_digits_well(tmp_path: Path) -> None:
    started = time.perf_counter()
    with process("train", cwd=tmp_path) as running:
        out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, "")
    assert time.perf_counter() - started < 60
    summary = summary_in(tmp_path / "gpunet-out")
    assert summary["test_accuracy"] >= 0.97
    assert f"test accuracy {summary['test_accuracy']:.4f}" in out
    assert summary["dataset"] == "digits"
    assert summary["seconds"] < 60


def test_the_four_files(gpunet: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = gpunet("train", *SHORT, "--batch-norm", "--out", "a/b")
    assert (result.code, result.err) == (0, "")
    out = tmp_path / "a" / "b"
    assert sorted(p.name for p in out.iterdir()) == FILES
    summary = summary_in(out)
    assert summary.keys() >= KEYS
    assert (summary["dataset"], summary["device"], summary["epochs"]) == ("digits", "cpu", 2)
    model = gn.load(out / "model.safetensors")
    assert summary["parameters"] == sum(p.size for p in model.parameters())
    data = digits()
    right = model.eval()(data.test.x).numpy().argmax(1) == data.test.t
    assert summary["test_accuracy"] == pytest.approx(right.mean())
    right = model(data.valid.x).numpy().argmax(1) == data.valid.t
    assert summary["valid_accuracy"] == pytest.approx(right.mean())
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) == summary["train_loss"]
    assert float(rows[1]["valid_accuracy"]) == summary["valid_accuracy"]
    assert summary["steps"] == 2 * 40  # 1257 rows in batches of 32
    assert summary["steps_per_second"] == pytest.approx(80 / summary["seconds"])
    assert 0 < summary["seconds"] < 60
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    first, second, third, *_, before, chosen, last = result.out.splitlines()
    assert first.startswith("digits: 64 features, 10 classes; 1,257 rows to train, 180 to valid")
    assert second == "MLP 64-256-128-10, BatchNorm, Dropout 0.2 on cpu"
    assert third == f"on the test rows: accuracy {summary['test_accuracy']:.4f} of 360 rows"
    assert before.startswith(f"test accuracy {summary['test_accuracy']:.4f} after 2 epochs in ")
    assert chosen == "the model is that of epoch 2, the best on the validation rows"
    assert last == f"written to {Path('a/b')}"


def test_without_matplotlib(gpunet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gpunet-out"
    out.mkdir()
    (out / "curves.png").write_bytes(b"of an earlier run")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = gpunet("train", *SHORT)
    assert (result.code, result.err) == (0, "")
    assert sorted(p.name for p in out.iterdir()) == WITHOUT_PICTURE


def trained(gpunet: Run, *arguments: object) -> tuple[dict[str, Any], Any]:
    result = gpunet("train", *SHORT, *arguments, "--out", "out")
    assert (result.code, result.err) == (0, "")
    return summary_in(Path("out")), gn.load("out/model.safetensors")


def test_options_of_the_network(gpunet: Run) -> None:
    summary, model = trained(gpunet, "--hidden", "7", "--batch-norm", "--dropout", "0.5")
    assert [type(layer).__name__ for layer in model] == [
        "Affine", "BatchNorm", "ReLU", "Dropout", "Affine",
    ]  # fmt: skip
    assert model[3].p == 0.5
    assert summary["parameters"] == 64 * 7 + 7 + 14 + 70 + 10
    summary, model = trained(gpunet, "--hidden", "9, 8", "--dropout", "0")
    assert model.sizes == [64, 9, 8, 10]
    assert (model.dropout, model.batch_norm) == (0.0, False)
    summary, model = trained(gpunet, "--hidden", "")
    assert model.sizes == [64, 10]


def test_options_of_the_training(gpunet: Run) -> None:
    small = ("--hidden", "8")
    one, model = trained(gpunet, *small, "--seed", "1", "--batch-size", "100")
    again, twin = trained(gpunet, *small, "--seed", "1", "--batch-size", "100")
    other, _ = trained(gpunet, *small, "--seed", "2", "--batch-size", "100")
    assert one["train_loss"] == again["train_loss"] != other["train_loss"]
    np.testing.assert_array_equal(model[0].W.data, twin[0].W.data)
    assert one["steps"] == 2 * 13
    gn.seed(1)
    same, data = gn.MLP([64, 8, 10], dropout=0.2), digits()
    by_hand = gn.Trainer(same, gn.SoftmaxWithLoss(), gn.Adam(same.parameters()))
    history = by_hand.fit(data.train, epochs=2, batch_size=100, seed=1)
    assert one["train_loss"] == history["train_loss"][-1]
    assert "Adam(lr=0.001," in one["optimizer"]
    summary, _ = trained(gpunet, *small, "--epochs", "3", "--lr", "0.5", "--optimizer", "SGD")
    assert summary["epochs"] == 3
    assert "SGD(lr=0.5" in summary["optimizer"]


@pytest.mark.parametrize("name", ["sgd", "cocob", "lion"])
def test_an_optimizer_by_its_name(name: str, gpunet: Run) -> None:
    summary, _ = trained(gpunet, "--hidden", "8", "--optimizer", name, "--epochs", "1")
    assert summary["optimizer"].lower().startswith(f"{name}(")
    assert np.isfinite(summary["train_loss"])


# Data


def write_csv(path: Path, rows: int, target: Callable[[Any], Any]) -> Path:
    x = np.random.default_rng(0).normal(size=(rows, 3))
    lines = ["a,b,c,target", *(f"{a},{b},{c},{target((a, b, c))}" for a, b, c in x)]
    path.write_text("\n".join(lines))
    return path


def test_classes_in_a_csv(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "kinds.csv", 300, lambda x: "high" if x[0] > 0 else "low")
    summary, model = trained(gpunet, "kinds.csv", "--epochs", "10", *SMALL)
    assert summary["dataset"] == "kinds.csv"
    assert summary["test_accuracy"] > 0.9
    assert model.sizes[-1] == 2


def test_numbers_in_a_csv(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "sum.csv", 300, lambda x: x[0] + 2 * x[1])
    result = gpunet("train", "sum.csv", *SHORT, *SMALL, "--epochs", "20", "--dropout", "0")
    assert (result.code, result.err) == (0, "")
    summary = summary_in(tmp_path / "gpunet-out")
    assert summary.keys() >= KEYS
    assert summary["valid_accuracy"] is summary["test_accuracy"] is None
    assert 0 < summary["test_loss"] < 0.5
    assert 0 < summary["valid_loss"] < 0.5
    assert f"test R2 {summary['test_r2']:.4f} after 20 epochs" in result.out
    assert (
        f"on the test rows: R2 {summary['test_r2']:.4f}, MAE {summary['test_mae']:.4g}"
        in result.out
    )
    assert summary["test_rmse"] ** 2 == pytest.approx(summary["test_loss"], rel=1e-4)
    assert "sum: 3 features, 1 number(s); 210 rows to train" in result.out
    header = (tmp_path / "gpunet-out" / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,train_loss,valid_loss,lr,seconds"


def test_what_whole_numbers_mean(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "whole.csv", 300, lambda x: round(100 * x[0]))
    result = gpunet("train", "whole.csv", *SMALL)
    assert result.code == 0
    assert "taken for quantities; give --target class if they are labels" in result.err
    assert ", a number, -" in result.out
    summary, model = trained(gpunet, "whole.csv", "--target", "number", *SMALL)
    assert summary["test_accuracy"] is None
    assert model.sizes[-1] == 1
    write_csv(tmp_path / "few.csv", 300, lambda x: int(x[0] > 0))
    assert trained(gpunet, "few.csv", *SMALL)[0]["test_accuracy"] is not None
    assert trained(gpunet, "few.csv", "--target", "number", *SMALL)[0]["test_accuracy"] is None


def test_large_targets_are_scaled_and_told_as_they_are(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "house.csv", 300, lambda x: 200_000 + 50_000 * x[0] - 30_000 * x[1])
    summary, _ = trained(gpunet, "house.csv", *SMALL, "--epochs", "30", "--dropout", "0")
    variance = float(load(tmp_path / "house.csv").test.t.var())
    assert 0 < summary["test_loss"] < 0.1 * variance
    assert 0 < summary["valid_loss"] < 0.2 * variance
    with open(tmp_path / "out" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["train_loss"]) > 1e6
    assert summary["train_loss"] in [float(row["train_loss"]) for row in rows]


def test_the_model_says_how_its_data_was_scaled(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "house.csv", 300, lambda x: 200_000 + 50_000 * x[0])
    _, model = trained(gpunet, "house.csv", *SMALL, "--epochs", "30", "--dropout", "0")
    words, _ = unseal((tmp_path / "out" / "model.safetensors").read_bytes())
    data = json.loads(words["data"])
    assert (data["label"], data["columns"], data["classes"]) == ("target", ["a", "b", "c"], None)
    raw = load(tmp_path / "house.csv", normalise=False).test
    x = ((raw.x - np.array(data["shift"])) / data["scale"]).astype(np.float32)
    found = model.eval()(x).numpy() * data["target_scale"] + data["target_shift"]
    assert np.mean((found - raw.t) ** 2) < 0.1 * raw.t.var()


def test_what_it_predicts_is_said(gpunet: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", 300, lambda x: "hot" if x[0] > 0 else "cold")
    result = gpunet("train", "t.csv", *SHORT)
    assert "predicts target, 2 classes: cold, hot\nreads a, b, c\n" in result.out
    write_csv(tmp_path / "n.csv", 300, lambda x: x[0])
    result = gpunet("train", "n.csv", *SHORT, "--label", "b")
    assert "predicts b, a number, " in result.out
    assert "reads a, c, target\n" in result.out
    result = gpunet("train", "n.csv", "--label", "d")
    assert_one_line(result, "found the columns 'a, b, c, target'; pass --label a column's name")
    rows = "".join(f"{k % 2},{k / 3},{k / 7}\n" for k in range(60))
    (tmp_path / "higgs.csv").write_text(rows)
    assert_one_line(gpunet("train", "higgs.csv"), "pass --label 1 or --label 3")
    result = gpunet("train", "higgs.csv", *SHORT, "--label", "1")
    assert "predicts column 1, 2 classes: 0, 1\nreads column 2, column 3\n" in result.out


def test_classes_with_few_rows_are_said(gpunet: Run, tmp_path: Path) -> None:
    rows = "".join(f"{k},{k / 3},{'ab'[k % 2]}\n" for k in range(60))
    (tmp_path / "t.csv").write_text(f"{rows}1,2,rare\n")
    result = gpunet("train", "t.csv", *SHORT)
    assert "no rows to validate on, for there are too few: rare\n" in result.out
    assert "no rows to test on, for there are too few: rare\n" in result.out


def test_an_npz(gpunet: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    np.savez(tmp_path / "some.npz", x=x, t=(x[:, 0] > 0).astype(int))
    summary, _ = trained(gpunet, "some.npz", "--epochs", "5", *SMALL)
    assert summary["test_accuracy"] > 0.7


def idx(array: Any) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return gzip.compress(header + array.tobytes())


def test_a_folder_of_idx_files(gpunet: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "small"
    folder.mkdir()
    for part, rows in (("train", 200), ("t10k", 50)):
        labels = (np.arange(rows) % 3).astype(np.uint8)
        images = (rng.integers(0, 50, (rows, 4, 4)) + 60 * labels[:, None, None]).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    summary, model = trained(gpunet, folder, "--epochs", "20", *SMALL)
    assert summary["dataset"] == str(folder)
    assert summary["test_accuracy"] > 0.9
    assert model.sizes[0] == 16


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist(gpunet: Run) -> None:
    summary, _ = trained(
        gpunet, FASHION, "--epochs", "1", "--hidden", "32", "--batch-size", "256", "--dropout", "0"
    )
    assert summary["test_accuracy"] > 0.75


# Mistakes: one line, status 2, and an earlier run's files as they were


def garbage(folder: Path) -> None:
    (folder / "garbage.csv").write_bytes(bytes(range(256)) * 9)
    (folder / "words.csv").write_text("a,b,target\n1,2,x\n1,oops,y\n")
    (folder / "empty.csv").write_text("")
    (folder / "inf.csv").write_text("a,b,target\n" + "1,2,x\n3,inf,y\n" * 9)
    (folder / "two.csv").write_text("a,b,target\n1,2,x\n3,4,y\n")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04" + b"x" * 99)
    (folder / "a.txt").write_text("1,2\n")
    (folder / "bare").mkdir()
    (folder / "a file").write_text("kept")


MISTAKES: dict[str, tuple[list[str], str]] = {
    "unknown option": (["train", "--colour", "red"], "No such option.*--colour"),
    "two data": (["train", "digits", "digits"], "unexpected extra argument"),
    "optimizer": (["train", "--optimizer", "sdg"], "--optimizer.*'sdg'; did you mean sgd"),
    "hidden words": (["train", "--hidden", "a,b"], "--hidden.*'a,b' is not a list of layer sizes"),
    "hidden zero": (["train", "--hidden", "10,0"], "--hidden.*is not a list of layer sizes"),
    "hidden gap": (["train", "--hidden", "10,,5"], "--hidden.*is not a list of layer sizes"),
    "hidden huge": (["train", "--hidden", "99999999,99999999"], "not enough memory"),
    "lr words": (["train", "--lr", "fast"], "--lr.*'fast' is no learning rate; give a"),
    "lr nan": (["train", "--lr", "nan"], "--lr.*'nan' is no learning rate"),
    "lr inf": (["train", "--lr", "inf"], "--lr.*'inf' is no learning rate"),
    "lr below 0": (["train", "--lr", "-1"], "--lr.*'-1' is no learning rate"),
    "lr of cocob": (["train", "--optimizer", "cocob", "--lr", "1"], "COCOB has no learning rate"),
    "lr too large": (
        ["train", "--optimizer", "sgd", "--lr", "1e30"],
        "non-finite in epoch 1, step 2, first in the output of layer .*; try a smaller --lr",
    ),
    "dropout 1": (["train", "--dropout", "1"], "--dropout.*1 is not a share from 0 to below 1"),
    "dropout nan": (["train", "--dropout", "nan"], "--dropout.*nan is not a share"),
    "epochs 0": (["train", "--epochs", "0"], "--epochs.*0 is not in the range"),
    "epochs 1.5": (["train", "--epochs", "1.5"], "--epochs.*'1.5' is not a valid integer"),
    "batch size 0": (["train", "--batch-size", "0"], "--batch-size.*0 is not in the range"),
    "batch of one": (
        ["train", "--batch-size", "1", "--batch-norm"],
        "BatchNorm needs at least 2 rows a batch; give a larger --batch-size",
    ),
    "seed -1": (["train", "--seed", "-1"], "--seed.*-1 is not in the range"),
    "seed huge": (["train", "--seed", str(2**64)], "--seed.*is not in the range"),
    "device": (["train", "--device", "tpu"], "--device.*'tpu' is not one of"),
    "target": (["train", "--target", "both"], "--target.*'both' is not one of"),
    "missing": (["train", "gone.csv"], "'gone.csv'.*no such file or folder"),
    "garbage": (["train", "garbage.csv"], "garbage.csv: expected"),
    "words": (["train", "words.csv"], "words.csv: line 3"),
    "empty": (["train", "empty.csv"], "empty file"),
    "inf": (["train", "inf.csv"], "inf.csv.*line 3"),
    "two rows": (["train", "two.csv"], "two.csv: "),
    "npz": (["train", "broken.npz"], "broken.npz"),
    "txt": (["train", "a.txt"], "'a.txt'.*convert it to .csv or .npz"),
    "bare folder": (["train", "bare"], "bare"),
    "out is a file": (["train", "--out", "a file"], "--out.*'a file' is a file"),
    "out below a file": (["train", "--out", "a file/x"], "--out a file/x: cannot write there"),
    "no time": (["train", "--checkpoint-every", "often"], "--checkpoint-every.*'often' is no time"),
    "0 epochs": (["train", "--checkpoint-every", "0"], "--checkpoint-every.*'0' is no time"),
    "no value": (["train", "--out"], "Option '--out' requires an argument"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, gpunet: Run, tmp_path: Path) -> None:
    arguments, words = MISTAKES[name]
    garbage(tmp_path)
    out = tmp_path / "gpunet-out"
    out.mkdir()
    for file in FILES:
        (out / file).write_text("of an earlier run")
    before = sorted(tmp_path.rglob("*"))
    result = gpunet(*arguments)
    assert_one_line(result, words)
    assert sorted(tmp_path.rglob("*")) == before
    assert all((out / file).read_text() == "of an earlier run" for file in FILES)
    assert (tmp_path / "a file").read_text() == "kept"


def test_a_mistake_in_another_process(tmp_path: Path) -> None:
    with process("train", "gone.csv", cwd=tmp_path) as running:
        out, err = running.communicate(timeout=60)
    assert out == ""
    assert_one_line(Result(running.returncode, out, err), "no such file or folder")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission(gpunet: Run, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    result = gpunet("train", "--out", "closed")
    assert_one_line(result, "--out closed: cannot write there: Permission denied")


def test_a_disk_that_fills_up(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    result = gpunet("train", *SHORT, *SMALL)
    assert_one_line(result, "No space left on device")
    assert list(Path("gpunet-out").iterdir()) == []


# What was trained is kept


def test_two_runs_do_not_mix(gpunet: Run, tmp_path: Path) -> None:
    with Outputs(tmp_path / "gpunet-out", []):
        result = gpunet("train", *SHORT)
    assert_one_line(result, "--out gpunet-out: another run is writing there: wait for it, or choos")
    assert list((tmp_path / "gpunet-out").iterdir()) == []


@pytest.mark.parametrize("broken", ["evaluate", "draw"])
def test_the_model_is_there_whatever_fails_after_the_training(
    broken: str, gpunet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "gpunet-out"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("of an earlier run")

    def fail(*arguments: Any) -> None:
        raise MemoryError("too large a test part")

    if broken == "evaluate":
        monkeypatch.setattr(gn.Trainer, "evaluate", fail)
    else:
        monkeypatch.setattr(pictures, "encode_figure", fail)
    assert_one_line(gpunet("train", *SHORT, *SMALL), "not enough memory.*too large a test part")
    gn.load(out / "model.safetensors")
    written = ["history.csv", "model.safetensors", "summary.json"]
    assert sorted(p.name for p in out.iterdir()) == written[: 2 if broken == "evaluate" else 3]


def test_a_clock_that_stands_still(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    summary, _ = trained(gpunet, *SMALL)
    assert (summary["seconds"], summary["steps_per_second"]) == (0, None)


@pytest.mark.parametrize("trouble", ["the folder is gone", "the folder is a file"])
def test_a_model_that_its_folder_does_not_take_goes_somewhere_near(
    trouble: str, gpunet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = gn.Trainer.fit

    def fit(*arguments: Any, **options: Any) -> Any:
        history = true(*arguments, **options)
        (tmp_path / "runs" / "out").rmdir()
        if trouble == "the folder is a file":
            (tmp_path / "runs" / "out").write_text("kept")
        return history

    monkeypatch.setattr(gn.Trainer, "fit", fit)
    result = gpunet("train", *SHORT, *SMALL, "--out", "runs/out")
    path = tmp_path / "runs" / "out-model.safetensors"
    assert_one_line(result, f"cannot write to runs/out: .*; the model is in {path}$")
    gn.load(path)


def test_what_cannot_be_written_is_told_before_the_training(gpunet: Run, tmp_path: Path) -> None:
    (tmp_path / "gpunet-out" / "summary.json").mkdir(parents=True)
    result = gpunet("train", "--epochs", "100000")
    assert_one_line(result, "--out gpunet-out: cannot write there: summary.json is a folder")


def test_a_leftover_of_an_earlier_process_is_in_nobodys_way(gpunet: Run, tmp_path: Path) -> None:
    out = tmp_path / "gpunet-out"
    out.mkdir()
    for name in FILES:
        for number in range(3):
            (out / f".{name}.{os.getpid()}-{number}.tmp").write_text("")
    assert gpunet("train", *SHORT, *SMALL).code == 0
    assert summary_in(out)["epochs"] == 2
    assert not list(out.glob("*.tmp"))


# Devices


NO_GPU = machine.Problem("no NVIDIA driver", "install one")


def test_cuda_without_a_gpu(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "driver", lambda: NO_GPU)
    monkeypatch.setattr(machine, "cupy_problem", lambda wheels, extra: None)
    result = gpunet("train", "--device", "cuda")
    assert (result.code, result.out) == (2, "")
    assert result.err == "gpunet: --device cuda: no NVIDIA driver; install one\n"
    summary, _ = trained(gpunet, "--hidden", "4", "--device", "auto")
    assert summary["device"] == "cpu"


def test_auto_says_why_a_gpu_is_left_alone(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "driver", lambda: machine.Driver(1, 13000))
    trouble = machine.Problem("CuPy is not installed", "pip install it")
    monkeypatch.setattr(machine, "problems", lambda: [trouble])
    result = gpunet("train", "--hidden", "4", "--epochs", "1", "--device", "auto")
    assert result.code == 0
    assert result.err == (
        "gpunet: on the CPU, not on the GPU: CuPy is not installed; pip install it\n"
    )
    assert gpunet("train", "--hidden", "4", *SHORT).err == ""  # --device cpu asks for nothing else


def test_training_on_each_device(gpunet: Run, device: str) -> None:
    here, twin = trained(gpunet, "--hidden", "8", "--device", "cpu")
    for wanted in ["cpu"] if device == "cpu" else ["cuda", "auto"]:
        summary, model = trained(gpunet, "--hidden", "8", "--device", wanted)
        assert summary["device"] == device
        assert model.device == "cpu"
        assert summary["train_loss"] == pytest.approx(here["train_loss"], rel=1e-3)
        np.testing.assert_allclose(model[0].W.data, twin[0].W.data, atol=1e-3)


# Ctrl-C


def test_ctrl_c_writes_what_there_is(
    gpunet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pressed in the fourth of many epochs."""
    evaluate = fit.Scoring.__call__
    seen = []

    def pressing(*given: Any) -> dict[str, float]:
        seen.append(1)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)
        return evaluate(*given)

    monkeypatch.setattr(fit.Scoring, "__call__", pressing)
    result = gpunet("train", "--device", "cpu", "--hidden", "8", "--lr", "0.3")
    assert result.code == 130
    assert result.err == "gpunet: interrupted; what was trained so far is kept\n"
    assert "after 4 epochs" in result.out
    summary = summary_in(tmp_path / "gpunet-out")
    assert (summary["epochs"], summary["stopped"]) == (4, "interrupted")
    with open(tmp_path / "gpunet-out" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    # The numbers are those of the weights that were kept: the best epoch's.
    best = min(rows, key=lambda row: float(row["valid_loss"]))
    assert summary["valid_accuracy"] == float(best["valid_accuracy"])
    assert summary["train_loss"] == float(best["train_loss"])
    model, data = gn.load(tmp_path / "gpunet-out" / "model.safetensors"), load("digits")
    right = model.eval()(data.test.x).numpy().argmax(1) == data.test.t
    assert summary["test_accuracy"] == pytest.approx(right.mean())


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
def test_ctrl_c_from_outside(tmp_path: Path) -> None:
    with process("train", "--epochs", 100_000, "--device", "cpu", cwd=tmp_path) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("digits: ")
        assert running.stdout.readline().startswith("MLP ")
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "gpunet: interrupted; what was trained so far is kept\n"
    assert summary_in(tmp_path / "gpunet-out")["stopped"] == "interrupted"
    gn.load(tmp_path / "gpunet-out" / "model.safetensors")


def test_ctrl_c_in_the_first_epoch(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = gn.Step.gradients

    def pressing(*arguments: Any, **options: Any) -> Any:
        if arguments[0].optimizer.t == 3:
            signal.raise_signal(signal.SIGINT)
        return gradients(*arguments, **options)

    monkeypatch.setattr(gn.Step, "gradients", pressing)
    assert gpunet("train", *SHORT).code == 130
    summary = summary_in(Path("gpunet-out"))
    assert (summary["epochs"], summary["steps"], summary["train_loss"]) == (0, 4, None)
    assert 0 < summary["test_accuracy"] < 1
    assert not Path("gpunet-out/curves.png").exists()


def test_ctrl_c_before_the_training(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpunet.commands.common.load", press)
    result = gpunet("train")
    assert (result.code, result.out) == (130, "")
    assert not Path("gpunet-out").exists()


# Stopped, and gone on with


RUN = ["--device", "cpu", "--hidden", "8", "--lr", "0.05", "--batch-norm", "--epochs", "4"]


def left(folder: Path) -> list[Any]:
    """The files of a run without what the clock makes of them."""
    with open(folder / "history.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    summary = summary_in(folder)
    plain = {k: v for k, v in summary.items() if k not in ("seconds", "steps_per_second")}
    return [(folder / "model.safetensors").read_bytes(), rows, plain]


def stop_after(updates: int, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = gn.Step.gradients

    def signalling(step: gn.Step, *arguments: Any, **options: Any) -> Any:
        if step.optimizer.t == updates - 1:
            signal.raise_signal(number)
        return gradients(step, *arguments, **options)

    monkeypatch.setattr(gn.Step, "gradients", signalling)


@pytest.mark.parametrize("options", [[], ["--checkpoint-every", "1h"]])
def test_stopped_in_mid_epoch_and_on(
    options: list[str], gpunet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpunet("train", *RUN, "--out", "whole").code == 0
    with monkeypatch.context() as patch:
        stop_after(50, signal.SIGTERM, patch)
        result = gpunet("train", *RUN, *options, "--out", "out")
    assert result.code == 128 + signal.SIGTERM
    assert summary_in(Path("out"))["steps"] == 50
    result = gpunet("train", *RUN, *options, "--out", "out", "--resume")
    assert (result.code, result.err) == (0, "")
    assert "going on with out/checkpoint.safetensors, after 1 epoch\n" in result.out
    assert left(Path("out")) == left(Path("whole"))
    assert Path("out/checkpoint.safetensors").exists() == bool(options)
    if options:  # all is done
        assert gpunet("train", *RUN, *options, "--out", "out", "--resume").code == 0
        assert left(Path("out")) == left(Path("whole"))


def test_resume_with_other_options(gpunet: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(90, signal.SIGINT, patch)
        assert gpunet("train", *RUN).code == 130
    before = left(Path("gpunet-out"))
    for options, words in (
        (
            ["--batch-size", "16"],
            "--batch-size was 32, is 16; give the options of then, or another",
        ),
        (["--lr", "0.1"], r"lr was 0.05, is 0.1; give the options of then, or another --out"),
        (["--seed", "5"], "seed was 0, is 5"),
        (["--hidden", "9"], "out_features was 8, is 9"),
        (["--epochs", "1"], "has trained 2 epochs already; --epochs 1, those of the whole"),
    ):
        assert_one_line(gpunet("train", *RUN, *options, "--resume"), words)
        assert left(Path("gpunet-out")) == before
    result = gpunet("train", *RUN)
    assert result.err == "gpunet: the training that was stopped in gpunet-out is begun anew\n"
    assert not Path("gpunet-out/checkpoint.safetensors").exists()


def test_resume_where_there_is_nothing(gpunet: Run) -> None:
    assert gpunet("train", *RUN, "--resume", "--out", "a").err == ""
    assert gpunet("train", *RUN, "--out", "b").err == ""
    assert left(Path("a")) == left(Path("b"))


def test_a_training_that_fails_keeps_what_there_was(
    gpunet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A huge rate from the third epoch on."""
    current = gn.Optimizer.step

    def exploding(optimizer: gn.Optimizer) -> None:
        if optimizer.t == 100:
            optimizer.lr = 1e30
        current(optimizer)

    monkeypatch.setattr(gn.Optimizer, "step", exploding)
    every = ["--optimizer", "sgd", "--checkpoint-every", "3"]
    result = gpunet("train", *RUN, *every, "--epochs", "9")
    assert_one_line(result, "non-finite in epoch 3, step 2")
    assert "after 2 epochs" in result.out
    summary = summary_in(Path("gpunet-out"))
    assert (summary["epochs"], summary["stopped"]) == (2, "stopped by an error")
    assert summary["test_accuracy"] > 0.3
    assert Path("gpunet-out/checkpoint.safetensors").exists()


# Help


def test_help_of_train() -> None:
    result = CliRunner().invoke(cli.cli, ["train", "--help"])
    assert result.exit_code == 0
    names = "hidden optimizer lr batch-norm dropout epochs batch-size seed device target label out"
    assert all(f"--{name} " in result.output for name in names.split(" "))
    assert "--checkpoint-every TIME" in result.output
    assert all(len(line) <= 100 for line in result.output.splitlines())

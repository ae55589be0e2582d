"""`gpunet predict`, `evaluate` and `show`: from a file that `gpunet train` wrote, on new rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from tests.console import Run

QUICK = ("--epochs", 15, "--lr", 0.05, "--hidden", "8", "--device", "cpu")


@pytest.fixture
def kinds(gpunet: Run) -> Path:
    """table.csv in the empty folder, and the folder of a run on it."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{'warm' if a > 50 else 'cold'}" for a, b in rng.random((80, 2)) * 100]
    Path("table.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n")
    assert gpunet("train", "table.csv", *QUICK, "--out", "run").code == 0
    Path("new.csv").write_text("b,a\n50,99\n50,1\n")
    return Path("run")


@pytest.fixture
def price(gpunet: Run) -> Path:
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{2e5 + 500 * a:.1f}" for a, b in rng.random((80, 2)) * 100]
    Path("table.csv").write_text("\n".join(["a,b,price", *rows]) + "\n")
    assert gpunet("train", "table.csv", *QUICK, "--out", "run").code == 0
    return Path("run")


def test_classes(gpunet: Run, kinds: Path) -> None:
    code, out, err = gpunet("predict", kinds / "model.safetensors", "new.csv")
    assert (code, out.split(), err) == (0, ["kind", "warm", "cold"], "")
    assert gpunet("predict", kinds, "new.csv") == (code, out, err)  # the folder does as well
    head, first, second = gpunet("predict", kinds, "new.csv", "--proba").out.split()
    assert head == "cold,warm"
    shares = np.array([line.split(",") for line in (first, second)], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (shares.argmax(axis=1) == [1, 0]).all()


def test_numbers(gpunet: Run, price: Path) -> None:
    result = gpunet("predict", price, "table.csv")
    assert result.err == (
        "gpunet: table.csv: the column 'price' is not read: it is what is predicted\n"
    )
    head, *lines = result.out.split()
    assert head == "price"
    predictor = gn.Predictor.load(price / "model.safetensors")
    np.testing.assert_allclose(np.array(lines, float), predictor.predict("table.csv"), atol=0.006)
    assert max(map(len, lines)) <= len("200000.00")
    assert gpunet("predict", price, "table.csv", "--proba").err.startswith("gpunet: --proba: price")


def test_several_numbers(gpunet: Run) -> None:
    x = np.random.default_rng(0).random((60, 2))
    np.savez("a.npz", x=x, t=x * [100, 1000] + 0.5)
    assert gpunet("train", "a.npz", *QUICK).code == 0
    out = gpunet("predict", "gpunet-out", "a.npz").out.split()
    assert out[0] == "t_0,t_1"
    assert len(out) == 61


def test_a_file_is_written(gpunet: Run, kinds: Path) -> None:
    code, out, err = gpunet("predict", kinds, "new.csv", "--out", "p.csv")
    assert (code, out, err) == (0, "", "2 rows written to p.csv\n")
    assert Path("p.csv").read_bytes() == b"kind\nwarm\ncold\n"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("new.csv", "--out new.csv: that is DATA"),
        ("run/model.safetensors", "that is the model"),
        ("p.npz", "predictions are written as CSV"),
        ("no/p.csv", "there is no folder"),
        ("run", "is a directory"),
    ],
)
def test_a_file_that_is_not_written(gpunet: Run, kinds: Path, out: str, said: str) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, printed, err = gpunet("predict", kinds, "new.csv", "--out", out)
    assert (code, printed) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_nothing_is_printed_where_a_row_is_bad(gpunet: Run, kinds: Path) -> None:
    Path("new.csv").write_text("a,b\n" + "1,2\n" * 5000 + "1,x\n")
    assert gpunet("predict", kinds, "new.csv", "--out", "p.csv") == (
        2,
        "",
        "gpunet: new.csv: line 5002, column 'b': expected a number, found 'x'; mend that cell\n",
    )
    assert not Path("p.csv").exists()


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_mistakes(gpunet: Run, kinds: Path, command: str) -> None:
    def said(*arguments: object) -> str:
        result = gpunet(command, *arguments)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
        return result.err

    assert "no model file 'nowhere'" in said("nowhere", "table.csv")
    assert "not a readable safetensors file" in said("new.csv", "table.csv")
    assert "no such file or folder" in said(kinds, "nowhere.csv")
    assert "no IDX images" in said(kinds, kinds)
    assert "Missing argument 'DATA'" in said(kinds)
    Path("other.csv").write_text("a,c,kind\n1,2,warm\n")
    assert "missing: b; unknown: c; rename them" in said(kinds, "other.csv")
    gn.save(gn.MLP([2, 2]), "plain.safetensors")
    assert "but not how rows are prepared for it" in said("plain.safetensors", "table.csv")


def test_evaluate_classes(gpunet: Run, kinds: Path) -> None:
    code, out, err = gpunet("evaluate", kinds, "table.csv")
    assert (code, err) == (0, "")
    score = gn.Predictor.load(kinds / "model.safetensors").score("table.csv")
    assert out.startswith(f"kind: accuracy {score:.4f} of 80 rows\n")
    assert "precision  recall" in out
    assert "confusion (rows: true, columns: predicted)" in out
    assert "missing: kind; unknown: none" in gpunet("evaluate", kinds, "new.csv").err


def test_evaluate_numbers(gpunet: Run, price: Path) -> None:
    score = gn.Predictor.load(price / "model.safetensors").score("table.csv")
    out = gpunet("evaluate", price, "table.csv").out
    assert out.startswith(f"price: R2 {score:.4f}, MAE ")
    assert out.endswith(" of 80 rows\n")


def test_digits_and_idx(gpunet: Run) -> None:
    assert gpunet("train", "digits", *QUICK, "--out", "run").code == 0
    code, out, err = gpunet("evaluate", "run", "digits")
    assert (code, err) == (0, "gpunet: digits: its 360 test rows\n")
    assert "of 360 rows" in out
    Path("images").mkdir()
    raw = gn.data.digits(normalise=False).test
    for name, values in (
        ("t10k-images-idx3-ubyte", raw.x.reshape(-1, 8, 8)),
        ("t10k-labels-idx1-ubyte", raw.t.astype(np.uint8)),
    ):
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
        (Path("images") / name).write_bytes(head + values.tobytes())
    assert gpunet("evaluate", "run", "images").out == out.replace("digits", "images")
    assert gpunet("predict", "run", "images").out == gpunet("predict", "run", "digits").out
    (Path("images") / "t10k-labels-idx1-ubyte").unlink()
    assert gpunet("predict", "run", "images").code == 0
    assert "labels beside t10k-images" in gpunet("evaluate", "run", "images").err


def test_standard_input_and_a_closed_pipe(kinds: Path) -> None:
    Path("new.csv").write_text("a,b\n" + "1,50\n" * 50_000)
    command = f"{sys.executable} -m gpunet predict run - < new.csv | head -2"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("kind\ncold\n", "")


def test_show(gpunet: Run, kinds: Path, price: Path) -> None:
    out = gpunet("show", price).out
    assert "price, a number" in out
    assert "reads: 2 columns: a, b" in out
    model = gn.MLP([3, 2])
    gn.save(model, "plain.safetensors")
    assert "`gpunet predict` does not read it" in gpunet("show", "plain.safetensors").out
    gn.save(gn.Adam(model.parameters()), "adam.safetensors")
    assert "a gpunet optimizer" in gpunet("show", "adam.safetensors").out
    assert gpunet("show", "nowhere").err == "gpunet: no model file 'nowhere'\n"


def test_show_an_image_network(gpunet: Run) -> None:
    assert gpunet("train", "digits", *QUICK, "--out", "run").code == 0
    lines = gpunet("show", "run").out.splitlines()
    assert lines[0] == "run/model.safetensors: a gpunet model, 610 numbers"
    assert lines[-3:] == [
        "trained on: digits",
        "predicts: prediction, 10 classes: 0, 1, 2, 3, 4, 5, 6, ..., 9 (10)",
        "reads: samples of shape (8, 8)",
    ]

"""to_onnx of a Predictor: onnxruntime takes raw rows and answers in the data's units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import load
from tests.console import Run

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def session(path: Path) -> Any:
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def words(path: Path) -> dict[str, Any]:
    found = session(path).get_modelmeta().custom_metadata_map
    return {name: json.loads(text) for name, text in found.items()}


@pytest.fixture
def numbers(tmp_path: Path) -> gn.Predictor:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 3)) * [1000, 0.01, 1] + [50_000, 3, 0]
    lines = [",".join(map(str, [*row, 2e5 + row[0]])) for row in x.tolist()]
    (tmp_path / "a.csv").write_text("\n".join(["a,b,c,price", *lines]) + "\n")
    gn.seed(0)
    data = load(tmp_path / "a.csv", target="number").with_scaled_targets()
    return gn.Predictor(gn.MLP([3, 8, 1]), data)


def table() -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    n = 120
    return {
        "age": ["" if rng.random() < 0.2 else int(k) for k in rng.integers(18, 80, n)],
        "y": [("Seoul", "Busan", "NA", "Jeju")[k] for k in rng.integers(0, 4, n)],
        "member": [("yes", "no")[k] for k in rng.integers(0, 2, n)],
        "street": [f"s{k}" for k in rng.integers(0, 40, n)],
        "kind": [("b", "a", "c")[k % 3] for k in range(n)],
    }


@pytest.fixture
def mixed(tmp_path: Path) -> gn.Predictor:
    pytest.importorskip("sklearn")
    columns = table()
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    data = load(tmp_path / "a.csv")
    gn.seed(0)
    return gn.Predictor(gn.MLP([data.features, 8, 3], batch_norm=True), data)


def fed(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """As onnxruntime takes them."""
    age = [np.nan if a == "" else a for a in columns["age"]]
    member = [float(m == "yes") for m in columns["member"]]
    return {
        "age": np.array(age, np.float32)[:, None],
        "y_": np.array(columns["y"])[:, None],
        "member": np.array(member, np.float32)[:, None],
        "street": np.array(columns["street"])[:, None],
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_numbers(numbers: gn.Predictor, tmp_path: Path, dtype: Any) -> None:
    gn.to_onnx(numbers, tmp_path / "m.onnx", dtype=dtype)
    x = np.array([[50_500.25, 3.01, -1], [49_000, 2.99, 2], [0, 0, 0]], dtype)
    (found,) = session(tmp_path / "m.onnx").run(["y"], {"x": x})
    np.testing.assert_allclose(found[:, 0], numbers.predict(x), rtol=1e-6)
    assert found.dtype == np.float64
    assert words(tmp_path / "m.onnx") == {"label": "price", "columns": ["a", "b", "c"]}
    with pytest.raises(ValueError, match="numbers are predicted, and no classes"):
        gn.to_onnx(numbers, tmp_path / "m.onnx", softmax=True)


def test_rows_of_a_table(mixed: gn.Predictor, tmp_path: Path) -> None:
    gn.to_onnx(mixed, tmp_path / "m.onnx", softmax=True)
    columns = table()
    del columns["kind"]
    columns["y"][:3] = ["Paris", "", "null"]
    (found,) = session(tmp_path / "m.onnx").run(["y"], fed(columns))
    np.testing.assert_allclose(found, mixed.predict_proba(columns), atol=1e-6)
    known = words(tmp_path / "m.onnx")
    assert known["classes"] == ["a", "b", "c"]
    assert known["columns"] == ["age", "y", "member", "street"]


def test_images(tmp_path: Path) -> None:
    predictor = gn.Predictor(gn.MLP([64, 10]), gn.data.digits())
    gn.to_onnx(predictor, tmp_path / "m.onnx", dtype=np.uint8)
    raw = gn.data.digits(normalise=False).test.x
    (found,) = session(tmp_path / "m.onnx").run(["y"], {"x": raw})
    np.testing.assert_allclose(found, predictor.answers(raw).outputs, rtol=1e-5, atol=1e-6)


def test_export(gpunet: Run, numbers: gn.Predictor, mixed: gn.Predictor, tmp_path: Path) -> None:
    numbers.save("n.safetensors")
    mixed.save("t.safetensors")
    x = np.array([[50_000, 3, 0]], np.float32)
    assert gpunet("export", "n.safetensors", "n.onnx").out == (
        "n.onnx: input x (batch, columns) of raw rows, output y (batch, outputs)\n"
    )
    (found,) = session(tmp_path / "n.onnx").run(["y"], {"x": x})
    np.testing.assert_allclose(found[:, 0], numbers.predict(x), rtol=1e-6)
    assert gpunet("export", "n.safetensors", "s.onnx", "--network").code == 0
    scaled = numbers.data.shift
    (found,) = session(tmp_path / "s.onnx").run(["y"], {"x": np.zeros((1, 3), np.float32)})
    (expected,) = session(tmp_path / "n.onnx").run(["y"], {"x": scaled[None].astype(np.float32)})
    scale, shift = numbers.data.target_scale, numbers.data.target_shift
    np.testing.assert_allclose(found * scale + shift, expected, rtol=1e-5)
    assert (
        "raw rows for each of age, y, member, street"
        in gpunet("export", "t.safetensors", "t.onnx").out
    )
    assert "no classes" in gpunet("export", "n.safetensors", "n.onnx", "--softmax").err

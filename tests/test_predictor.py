"""gpunet.predictor: what a network was trained on is all that new rows need."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gpunet as gn
from gpunet import saving
from gpunet.data import DataError, Dataset, load
from gpunet.data.features import Feature
from gpunet.fused.forward import Forward
from gpunet.testing import simgpu

Load = Callable[..., Dataset]


def csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def kinds(tmp_path: Path) -> gn.Predictor:
    """Of three columns far from 0, "warm" if a is above 50,000: known from the weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 3)) * [1000, 0.01, 1] + [50_000, 3, 0]
    rows = [f"{a},{b},{c},{'warm' if a > 50_000 else 'cold'}" for a, b, c in x.tolist()]
    data = load(csv(tmp_path / "kinds.csv", "\n".join(["a,b,c,kind", *rows]) + "\n"))
    model = gn.Sequential(gn.Affine(3, 2))
    model[0].W.data = np.array([[-1, 1], [0, 0], [0, 0]], np.float32)
    model[0].b.data = np.zeros(2, np.float32)
    predictor = gn.Predictor(model, data)
    mean = float(np.broadcast_to(data.shift, 3)[0])
    assert 49_700 < mean < 50_300
    return predictor


@pytest.fixture
def price(tmp_path: Path) -> gn.Predictor:
    """y = mean + (a - mean of a) / scale of a * the target's scale."""
    x = np.random.default_rng(1).standard_normal((60, 2))
    rows = [f"{a},{b},{200_000 + 50_000 * a}" for a, b in x.tolist()]
    path = csv(tmp_path / "price.csv", "\n".join(["a,b,price", *rows]) + "\n")
    data = load(path, target="number").with_scaled_targets()
    model = gn.Sequential(gn.Affine(2, 1))
    model[0].W.data = np.array([[1], [0]], np.float32)
    model[0].b.data = np.zeros(1, np.float32)
    return gn.Predictor(model, data)


FEATURE = Feature("a", "number", 0.0).config()
COLD, WARM = [40_000.0, 3, 0], [60_000.0, 3, 0]


def test_classes_are_named_and_rows_raw(kinds: gn.Predictor) -> None:
    assert kinds.classes.tolist() == ["cold", "warm"]
    assert kinds.predict(np.array([WARM, COLD, WARM])).tolist() == ["warm", "cold", "warm"]
    proba = kinds.predict_proba([WARM, COLD])
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba.argmax(axis=1) == [1, 0]).all()


def test_numbers_have_their_unit(price: gn.Predictor) -> None:
    y = price.predict([[0.0, 7.0], [1.0, -7.0]])
    np.testing.assert_allclose(y, [200_000, 250_000], rtol=1e-5)
    assert y.dtype == np.float64
    assert price.score([[0.0, 0], [1, 0], [2, 0]], [200_000, 250_000, 300_000]) > 0.999
    with pytest.raises(ValueError, match="predicts price, a number: it has no probabilities"):
        price.predict_proba([[0.0, 7.0]])


def test_through_a_file_it_says_the_same(kinds: gn.Predictor, tmp_path: Path) -> None:
    kinds.save(tmp_path / "m.safetensors")
    again = gn.Predictor.load(tmp_path / "m.safetensors")
    assert json.dumps(again.data.to_words()) == json.dumps(kinds.data.to_words())
    rows = np.array([WARM, COLD])
    np.testing.assert_array_equal(again.predict_proba(rows), kinds.predict_proba(rows))
    assert isinstance(gn.load(tmp_path / "m.safetensors"), gn.Sequential)


def test_the_formula_is_that_of_training(kinds: gn.Predictor, tmp_path: Path) -> None:
    data = load(tmp_path / "kinds.csv")
    raw = load(tmp_path / "kinds.csv", normalise=False)
    direct = kinds.model(data.valid.x).data
    np.testing.assert_allclose(kinds.answers(raw.valid.x).outputs, direct, atol=1e-3)  # raw float32
    np.testing.assert_array_equal(data.prepare(np.array([WARM])).dtype, np.float32)


def test_columns_by_their_names(kinds: gn.Predictor) -> None:
    columns = {"c": [0, 0.0], "b": [3, 3.0], "a": [60_000, 40_000]}
    assert kinds.predict(columns).tolist() == ["warm", "cold"]
    assert kinds.predict({"a": 60_000, "b": 3, "c": 0}).tolist() == ["warm"]
    assert kinds.predict({**columns, "kind": ["?", "?"]}).tolist() == ["warm", "cold"]
    assert kinds.score({**columns, "kind": ["warm", "cold"]}) == 1
    assert kinds.score(columns, ["cold", "cold"]) == 0.5
    structured = np.array([(3.0, 60_000.0, 0.0)], [("b", "f8"), ("a", "f8"), ("c", "f8")])
    assert kinds.predict(structured).tolist() == ["warm"]


def test_a_dataframe(kinds: gn.Predictor) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([WARM, COLD], columns=["a", "b", "c"])
    assert kinds.predict(frame[["c", "a", "b"]]).tolist() == ["warm", "cold"]
    assert kinds.score(frame.assign(kind=["warm", "warm"])) == 0.5
    assert kinds.score(frame, pandas.Series(["warm", "cold"])) == 1
    assert kinds.predict(pandas.DataFrame([WARM])).tolist() == ["warm"]  # columns 0, 1, 2
    whole = frame.astype({"b": "Int64", "c": object})
    assert kinds.predict(whole).tolist() == ["warm", "cold"]
    whole.loc[1, "b"] = pandas.NA
    with pytest.raises(DataError, match=r"row 1 \(counted from 0\), column 'b': .* missing value"):
        kinds.predict(whole)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b,c\n60000,3,0\n40000,3,0\n", ["warm", "cold"]),
        ("c;kind;b;a\n0;;3;60000,5\n", ["warm"]),
        ("60000,3,0\n", ["warm"]),
        ("60000,3,0,cold\n40000,3,0,cold\n", ["warm", "cold"]),
        ("\ufeffa\tb\tc\n60000\t3\t0", ["warm"]),
        ("0,1,2\n60000,3,0\n", ["warm"]),
    ],
)
def test_a_csv(kinds: gn.Predictor, tmp_path: Path, text: str, found: list[str]) -> None:
    assert kinds.predict(csv(tmp_path / "new.csv", text)).tolist() == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "the columns a, b, c; missing: c; unknown: none; add them"),
        ("a,b,c,d\n1,2,3,4\n", "missing: none; unknown: d; leave them out"),
        ("a,b,C\n1,2,3\n", "missing: c; unknown: C; rename them"),
        ("x,y,z\n1,2,3\n", "missing: a, b, c; unknown: x, y, z"),
        ("a,b,c,a\n1,2,3,1\n", "expected every column once, found a more than once"),
        ("1,2\n", r"expected 3 columns \(or 4 with what is predicted\), .* found 2; give a, b, c"),
        ("a,b,c\n1,2\n", "line 2: expected 3 cells as in the first line, found 2"),
        ("a,b,c\n1,,3\n", "line 2, column 'b': expected a number, for .*found a missing value"),
        ("a,b,c\n1,x,3\n", "line 2, column 'b': expected a number, found 'x'"),
        ("a,b,c\n1,inf,3\n", "line 2, column 'b': .*float32's range once scaled, found inf"),
        ("a,b,c\n1,2,3\n1,1e300,3\n", r"line 3, column 'b': .* found 1e\+300"),
        ("a,b,c\n", "found a header only"),
        ("\n\n", "found blank lines only"),
        ("", r"found an empty file \(0 bytes\)"),
    ],
)
def test_a_csv_that_is_none(kinds: gn.Predictor, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        kinds.predict(csv(tmp_path / "new.csv", text))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 5)), "x: expected 3 columns"),
        (np.zeros(3), r"rows of shape \(rows, 3\), found shape \(3,\)"),
        (np.zeros((0, 3)), "x: expected rows, found none"),
        (np.zeros((2, 3), complex), "found dtype complex128"),
        ([["a", "b", "c"]], "expected numbers"),
        ([[1, 2], [3]], "x is no array of rows"),
        (None, "x: expected"),
        ([[1, 2, np.nan]], r"row 0 \(counted from 0\), column 'c': .*missing value"),
        ({"a": [1, 2], "b": [1], "c": [1]}, "found 1 and 2"),
        ({"a": [[1]], "b": [1], "c": [1]}, "one value a row"),
        ({}, "missing: a, b, c"),
        ({"a": [[1], [1, 2]], "b": [1, 2], "c": [1, 2]}, r"row 0 .*'a'.*found \[1\]"),
        ({"a": 10**400, "b": 1, "c": 1}, "row 0 .*'a': expected a number, found 1000"),
    ],
)
def test_rows_that_are_none(kinds: gn.Predictor, x: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        kinds.predict(x)


def test_a_score_needs_what_is_true(kinds: gn.Predictor, tmp_path: Path) -> None:
    path = csv(tmp_path / "new.csv", "a,b,c,kind\n60000,3,0,warm\n40000,3,0,warm\n")
    assert kinds.score(path) == 0.5
    assert kinds.score(path, ["warm", "cold"]) == 1
    with pytest.raises(TypeError, match="give t"):
        kinds.score(np.zeros((2, 3)))
    with pytest.raises(DataError, match="missing: kind"):
        kinds.score({"a": [1], "b": [1], "c": [1]})
    with pytest.raises(DataError, match="one of the classes 'cold, warm', found 'hot'"):
        kinds.score([WARM], ["hot"])
    with pytest.raises(DataError, match=r"x and t: .* found 1 and 2"):
        kinds.score([WARM], ["warm", "warm"])


def test_labels_that_are_whole_numbers(tmp_path: Path) -> None:
    x = np.arange(60.0).reshape(30, 2)
    np.savez(tmp_path / "a.npz", x=x, t=np.arange(30) % 3 + 1)
    predictor = gn.Predictor(gn.Sequential(gn.Affine(2, 3)), load(tmp_path / "a.npz"))
    assert predictor.classes.tolist() == [1, 2, 3]
    y = predictor.predict(x)
    assert y.dtype == np.int64
    assert predictor.score(x, y) == 1
    assert predictor.score(x, y.astype(float)) == 1
    assert predictor.score(x, y.astype(str)) == 1
    assert predictor.score(tmp_path / "a.npz") == np.mean(y == np.arange(30) % 3 + 1)
    with pytest.raises(DataError, match="one of the classes '1, 2, 3', found 0"):
        predictor.score(x, np.zeros(30, int))


def test_spelled_classes_stay_text(tmp_path: Path) -> None:
    lines = "".join(f"{k},0{k % 2}\n" for k in range(40))
    data = load(csv(tmp_path / "a.csv", "a,label\n" + lines))
    assert gn.Predictor(gn.Sequential(gn.Affine(1, 2)), data).classes.tolist() == ["00", "01"]


def test_images_by_their_shape() -> None:
    data = gn.data.digits()
    predictor = gn.Predictor(gn.MLP([64, 10]), data)
    raw = gn.data.digits(normalise=False).test
    y = predictor.predict(raw.x.reshape(-1, 8, 8))
    np.testing.assert_array_equal(y, predictor.predict(raw.x))
    np.testing.assert_array_equal(
        predictor.answers("digits").outputs, predictor.model(data.test.x).data
    )
    assert predictor.score("digits") == predictor.score(raw.x, raw.t)


def test_parts_of_an_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for part in ("train", "test"):
        arrays |= {f"x_{part}": rng.random((40, 3)), f"y_{part}": rng.random((40, 2))}
    np.savez(tmp_path / "a.npz", **arrays)
    predictor = gn.Predictor(gn.Sequential(gn.Affine(3, 2)), load(tmp_path / "a.npz"))
    answers = predictor.answers(tmp_path / "a.npz", truth=True)
    np.testing.assert_array_equal(answers.truth, arrays["y_test"])
    assert answers.notes == [f"{tmp_path}/a.npz: the array 'x_test', 40 rows"]
    assert predictor.predict(arrays["x_test"]).shape == (40, 2)
    np.savez(tmp_path / "b.npz", z=arrays["x_test"])
    with pytest.raises(DataError, match=r"arrays x \(or x_test\), found the keys \['z'\]"):
        predictor.predict(tmp_path / "b.npz")


def test_many_rows_come_in_blocks(kinds: gn.Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.tile([WARM, COLD, COLD], (3000, 1))
    seen: list[int] = []
    call = Forward.__call__
    monkeypatch.setattr(
        Forward, "__call__", lambda forward, x: (seen.append(len(x)), call(forward, x))[1]
    )
    assert kinds.predict(x).tolist() == ["warm", "cold", "cold"] * 3000
    assert sum(seen) == 9000
    assert max(seen) <= 4096


def test_standard_input(kinds: gn.Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(content: bytes) -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return kinds.predict("-").tolist()

    assert piped(b"a,b,c\n60000,3,0\n") == ["warm"]
    file = io.BytesIO()
    np.savez(file, x=[COLD])
    assert piped(file.getvalue()) == ["cold"]
    with pytest.raises(DataError, match="standard input: expected rows, found nothing"):
        piped(b"")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version 2, this gpunet reads 1"),
        ({"version": None}, "version None, this gpunet reads 1"),
        ({"scale": [1.0]}, "damaged"),
        ({"scale": "x"}, "damaged"),
        ({"shift": [float("nan")] * 3}, "damaged"),
        ({"columns": ["a"]}, "damaged"),
        ({"classes": 3}, "damaged"),
        ({"features": [{"name": "a"}] * 3}, "damaged"),
        ({"features": [FEATURE | {"fill": "x"}] * 3}, "damaged"),
        ({"features": [FEATURE | {"fill": None}] * 3}, "damaged"),
        ({"features": [FEATURE | {"fill": float("inf")}] * 3}, "damaged"),
        ({"features": [FEATURE | {"kind": "date"}] * 3}, "damaged"),
        ({"features": [FEATURE | {"kind": "category", "fill": "x"}] * 3}, "damaged"),
        ({"features": [FEATURE | {"flag": True}] * 3}, "damaged"),
        ({"shape": [7]}, "damaged"),
    ],
)
def test_words_that_are_no_description(
    kinds: gn.Predictor, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    words = kinds.data.to_words() | change
    (tmp_path / "m.safetensors").write_bytes(saving.to_bytes(kinds.model, words))
    with pytest.raises(gn.ModelFileError, match=said):
        gn.Predictor.load(tmp_path / "m.safetensors")


def test_a_network_alone_says_what_it_lacks(kinds: gn.Predictor, tmp_path: Path) -> None:
    gn.save(kinds.model, tmp_path / "m.safetensors")
    with pytest.raises(gn.ModelFileError, match="but not how rows are prepared for it"):
        gn.Predictor.load(tmp_path / "m.safetensors")


def test_a_network_of_other_outputs(kinds: gn.Predictor) -> None:
    with pytest.raises(ValueError, match=r"outputs of shape \(5,\), its data 2"):
        gn.Predictor(gn.MLP([3, 5]), kinds.data).predict([WARM])


def test_rows_on_a_gpu_stay_there(kinds: gn.Predictor, price: gn.Predictor, sim: Any) -> None:
    rows = np.array([WARM, COLD])
    expected = kinds.predict_proba(rows), price.predict(rows[:, :2])
    with pytest.raises(gn.DeviceError):
        kinds.predict_proba(sim.asarray(rows))
    for predictor in (kinds, price):
        predictor.to("cuda")
    x, two = sim.asarray(rows), sim.asarray(rows[:, :2])
    with simgpu.count() as used:
        proba, y = kinds.predict_proba(x), price.predict(two)
    assert used.d2h_copies == 0
    np.testing.assert_allclose(proba.get(), expected[0], atol=1e-6)
    np.testing.assert_allclose(y.get(), expected[1], rtol=1e-6)
    assert kinds.predict(x).tolist() == ["warm", "cold"]
    assert kinds.predict(rows).tolist() == ["warm", "cold"]  # from the host and back
    assert isinstance(kinds.predict_proba(rows), np.ndarray)
    assert kinds.score(x, ["warm", "cold"]) == 1
    with pytest.raises(DataError, match="row 1"):
        kinds.predict(sim.asarray([WARM, [np.nan, 1, 1]]))


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    """Names do not tell them apart, their order does."""
    x = np.random.default_rng(0).standard_normal((40, 2))
    lines = "".join(f"{a},{int(a > 0)},{b}\n" for a, b in x.tolist())
    data = load(csv(tmp_path / "a.csv", "a,label,a\n" + lines))
    predictor = gn.Predictor(gn.Sequential(gn.Affine(2, 2)), data)
    expected = predictor.predict_proba(x)
    for head, rows in (("a,label,a", x[:, [0, 0, 1]]), ("a,a", x)):
        text = "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
        found = predictor.predict_proba(csv(tmp_path / "b.csv", f"{head}\n{text}"))
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError, match="expected every column once, found a more than once"):
        predictor.predict(csv(tmp_path / "b.csv", "label,a,a\n0,1,2\n"))

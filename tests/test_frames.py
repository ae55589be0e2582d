"""gpunet.data.frames: DataFrames and Parquet files are read as CSV files are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import DataError, Dataset, load

pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")


def frame(n: int = 80) -> Any:
    rng = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.integers(20, 70, n)),
            "city": pandas.Series(rng.choice(["Seoul", "Jeju"], n)).astype("category"),
            "since": pandas.date_range("2024-01-01", periods=n),
            "member": rng.random(n) < 0.5,
            "rooms": pandas.array([1, 2, None, 3] * (n // 4), dtype="Int64"),
            "price": rng.random(n),
        }
    )


def same(one: Dataset, other: Dataset) -> None:
    assert one.encoding == other.encoding
    assert one.description().to_words() | {"name": ""} == other.description().to_words() | {
        "name": ""
    }
    for name in ("train", "valid", "test"):
        np.testing.assert_allclose(getattr(one, name).x, getattr(other, name).x, atol=1e-6)
        np.testing.assert_array_equal(getattr(one, name).t, getattr(other, name).t)


def test_a_frame_is_read_as_its_file(tmp_path: Path) -> None:
    whole = frame()
    whole.to_csv(tmp_path / "a.csv", index=False)
    found = load(whole)
    same(found, load(tmp_path / "a.csv"))
    assert [feature.kind for feature in found.encoding] == [
        "number",
        "category",
        "boolean",
        "number",
    ]
    assert found.notes[1] == "left out: since (a date or a time)"


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    whole = frame()
    whole.to_parquet(tmp_path / "a.parquet")
    found = load(tmp_path / "a.parquet", label="city")
    same(found, load(whole, label="city"))
    assert found.classes == ("Jeju", "Seoul")
    predictor = gn.Predictor(gn.MLP([found.features, 2]), found)
    expected = predictor.predict(whole)
    np.testing.assert_array_equal(predictor.predict(tmp_path / "a.parquet"), expected)
    assert predictor.score(tmp_path / "a.parquet") == predictor.score(whole)
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(99))
    with pytest.raises(DataError, match=r"b.parquet: expected a Parquet file, found Arrow"):
        load(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "c.parquet")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Parquet needs pandas: pip install 'gpunet\[tables\]'"):
        load(tmp_path / "a.parquet")


def test_numbers_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = pandas.DataFrame(rng.random((60, 3)), columns=["a", "b", "label"])
    whole["id"] = rng.permutation(60)
    whole.to_csv(tmp_path / "a.csv", index=False)
    found = load(whole)
    same(found, load(tmp_path / "a.csv"))
    assert (found.columns, found.encoding) == (("a", "b"), None)
    assert load(pandas.DataFrame(rng.random((60, 3)))).columns == ("column 1", "column 2")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"price": None}, {}, r"column 6 \('price'\): expected labels, found nothing but missing"),
        (
            {"age": [1.5, 1.5, "x", 1.5] * 20, "price": [None, *[2.5] * 79]},
            {},
            r"row 2 .*, column 1 .* found 'x'",
        ),
        ({}, {"label": "kind"}, "the label column 'kind', found the columns 'age, city"),
        ({"class": 1, "label": 2}, {}, "one label column, found 'class' and 'label'"),
    ],
)
def test_what_is_refused(change: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(frame().assign(**change), **options)


def test_no_rows() -> None:
    with pytest.raises(DataError, match="expected rows of two columns or more, found 0 rows of 6"):
        load(frame().iloc[:0])


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    whole = frame()
    whole.loc[[3, 17], "price"] = np.nan
    whole.to_csv(tmp_path / "a.csv", index=False)
    found = load(whole)
    assert found.notes[-1] == "left out: 2 rows without price"
    assert sum(len(part) for part in (found.train, found.valid, found.test)) == 78
    same(found, load(tmp_path / "a.csv"))
    predictor = gn.Predictor(gn.MLP([found.features, 1]), found)
    for rows in (whole, tmp_path / "a.csv"):
        answers = predictor.answers(rows, truth=True)
        assert len(answers.outputs) == len(answers.truth) == 78
        assert answers.notes[-1].endswith(": left out: 2 rows without price")
        assert len(predictor.predict(rows)) == 80
    with pytest.raises(DataError, match="expected rows with price, found none"):
        predictor.score(whole.assign(price=None))

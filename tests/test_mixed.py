"""gpunet.data.mixed, kinds and features: tables with text, missing values and columns of no use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.data import DataError, Dataset, load, tables
from gpunet.data.features import encode
from gpunet.data.kinds import inspect, is_key

pytest.importorskip("sklearn")

N = 200


def written(path: Path, columns: dict[str, list[Any]], mark: str = ",") -> Path:
    lines = [
        mark.join(columns),
        *(mark.join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def people(rng: np.random.Generator, n: int = N) -> dict[str, list[Any]]:
    age = rng.integers(18, 80, n)
    city = rng.choice(["Seoul", "Busan", "Jeju"], n)
    return {
        "age": ["" if rng.random() < 0.1 else int(a) for a in age],
        "city": ["?" if rng.random() < 0.1 else str(c) for c in city],
        "income": rng.normal(50_000, 9_000, n).round(2).tolist(),
        "kind": ["old" if a > 45 else "young" for a in age],
    }


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return load(written(tmp_path / "people.csv", people(np.random.default_rng(0))))


def test_kinds_and_what_stands_for_them(data: Dataset) -> None:
    age, city, income = data.encoding
    assert (age.kind, age.flag, city.kind, city.flag) == ("number", True, "category", True)
    assert (income.kind, income.flag) == ("number", False)
    assert city.values == ("Busan", "Jeju", "Seoul")
    assert city.fill in city.values
    assert data.description().inputs == (
        "age",
        "age missing",
        "city=Busan",
        "city=Jeju",
        "city=Seoul",
        "city missing",
        "income",
    )
    assert data.features == 7
    assert data.classes == ("old", "young")
    assert data.description().plan == "3 columns read: 2 numbers, 1 category; predicts: kind"
    assert data.notes[0].startswith("filled where missing: age (")
    assert (len(data.train), len(data.valid), len(data.test)) == (140, 20, 40)


def test_statistics_are_of_the_training_rows_alone(tmp_path: Path) -> None:
    """Whatever the other rows hold, what is learned stays."""
    rng = np.random.default_rng(3)
    columns = people(rng)
    first = load(written(tmp_path / "a.csv", columns))
    held_out = set(range(N)) - set(_order(N).tolist())
    for k in held_out:
        columns["income"][k] = 1e9
        columns["city"][k] = "Paris" if columns["city"][k] != "?" else "?"
        columns["age"][k] = 99 if columns["age"][k] else ""
    second = load(written(tmp_path / "b.csv", columns))
    assert second.encoding == first.encoding
    np.testing.assert_array_equal(second.scale, first.scale)
    np.testing.assert_array_equal(second.shift, first.shift)
    np.testing.assert_array_equal(second.train.x, first.train.x)


def _order(n: int) -> Any:
    """The training rows, found by a column that tells them."""
    columns = people(np.random.default_rng(3), n)
    labels = np.array([k == "young" for k in columns["kind"]], np.int64)
    rows = gn.data.split(np.arange(float(n))[:, None], labels, 0.1, 0.2, stratify=True)
    return rows[0].x[:, 0].astype(int)


def test_they_are_scikit_learns(tmp_path: Path) -> None:
    """A ColumnTransformer of its own parts says the same of the training rows."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(3)
    columns = people(rng)
    found = load(written(tmp_path / "a.csv", columns))
    age = np.array([float(a) if a != "" else np.nan for a in columns["age"]], object)
    city = np.array([None if c == "?" else c for c in columns["city"]], object)
    income = np.array(columns["income"], object)
    rows = _order(N)
    x = np.column_stack([age, city, income])[rows]
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent", missing_values=None),
        OneHotEncoder(sparse_output=False),
    )
    expected = ColumnTransformer([("n", numbers, [0, 2]), ("c", texts, [1])]).fit_transform(x)
    order = [data_column(found, name) for name in ("age", "income", "city=Busan")]
    picked = found.train.x[:, [*order[:2], *range(order[2], order[2] + 3)]]
    np.testing.assert_allclose(picked, expected.astype(float), atol=1e-6)
    missing = found.train.x[:, data_column(found, "age missing")]
    np.testing.assert_array_equal(missing, np.isnan(x[:, 0].astype(float)))


def data_column(data: Dataset, name: str) -> int:
    return data.description().inputs.index(name)


def test_new_rows_are_treated_alike_without_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = people(np.random.default_rng(0))
    path = written(tmp_path / "a.csv", columns)
    data = load(path)
    model = gn.MLP([data.features, 8, 2])
    gn.Predictor(model, data).save(tmp_path / "m.safetensors")
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    predictor = gn.Predictor.load(tmp_path / "m.safetensors")
    together = np.concatenate([part.x for part in (data.train, data.valid, data.test)])
    expected = model.eval()(together).data
    found = predictor.answers(path).outputs
    np.testing.assert_allclose(
        sorted(found.tolist()), sorted(expected.tolist()), rtol=1e-4, atol=1e-5
    )
    by_rows = list(map(list, zip(*list(columns.values())[:3], strict=True)))
    np.testing.assert_array_equal(predictor.predict(by_rows), predictor.predict(path))
    assert predictor.predict(columns).tolist() == predictor.predict(path).tolist()
    row = {"age": 30, "city": "Paris", "income": 1.0, "kind": "old"}
    answers = predictor.answers({k: row[k] for k in ("income", "age", "city")})
    assert answers.notes == [
        "the dict: the column 'city' has names that training did not have: Paris"
    ]
    with pytest.raises(DataError, match=r"row 0 .*, column 'age': expected a number, found 'x'"):
        predictor.predict({**row, "age": "x"})
    assert len(predictor.predict({"age": None, "city": np.nan, "income": "1 234.5"})) == 1


def test_a_frame_predicts_as_its_file(data: Dataset, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data)
    frame = pandas.read_csv(tmp_path / "people.csv", na_values=["?"])
    expected = predictor.predict_proba(tmp_path / "people.csv")
    np.testing.assert_allclose(predictor.predict_proba(frame), expected, atol=1e-6)
    frame["city"] = frame["city"].astype("category")
    frame["age"] = frame["age"].astype("Int64")
    np.testing.assert_allclose(predictor.predict_proba(frame), expected, atol=1e-6)
    assert predictor.score(frame) == predictor.score(tmp_path / "people.csv")


def test_columns_of_no_use_are_named_and_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60
    columns = {
        "customer": [f"c{k:03d}" for k in range(n)],
        "no": list(range(1000, 1000 + n)),
        "order_id": (rng.permutation(10 * n)[:n]).tolist(),
        "since": [f"2024-{k % 12 + 1:02d}-{k % 28 + 1:02d}" for k in range(n)],
        "at": [f"{k % 24}:{k:02d}" for k in range(n)],
        "country": ["KR"] * n,
        "empty": ["NA"] * n,
        "note": [f"text {k}" if k % 2 else "" for k in range(n)],
        "year": [1990 + k % 30 for k in range(n)],
        "colour": [("red", "blue")[k % 2] for k in range(n)],
        "price": [k * 1.5 for k in range(n)],
    }
    data = load(written(tmp_path / "a.csv", columns))
    assert data.columns == ("year", "colour")
    (left,) = data.notes
    for name, why in {
        "customer": "another text in every row",
        "no": "another whole number in every row",
        "order_id": "another whole number in every row",
        "since": "a date or a time",
        "at": "a date or a time",
        "country": "one value in every row",
        "empty": "nothing but missing values",
        "note": "another text in every row",
    }.items():
        assert f"{name} ({why})" in left
    predictor = gn.Predictor(gn.MLP([data.features, 1]), data)
    expected = predictor.predict(tmp_path / "a.csv")
    fewer = {name: columns[name] for name in ("colour", "year", "customer")}
    np.testing.assert_array_equal(predictor.predict(fewer), expected)
    with pytest.raises(DataError, match="none of use"):
        load(written(tmp_path / "b.csv", {k: columns[k] for k in ("customer", "since", "price")}))


def test_a_key_among_numbers_is_left_out_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "id": rng.permutation(60).tolist(),
        "a": list(range(60)),
        "label": [k % 2 for k in range(60)],
    }
    data = load(written(tmp_path / "a.csv", columns))
    assert (data.columns, data.header) == (("a",), ("id", "a", "label"))
    assert data.notes == ("left out: id (another whole number in every row)",)
    predictor = gn.Predictor(gn.MLP([1, 2]), data)
    rows = np.array([columns["id"], columns["a"]]).T
    expected = predictor.predict(rows[:, 1:])
    np.testing.assert_array_equal(predictor.predict(rows), expected)
    np.testing.assert_array_equal(predictor.predict({"a": columns["a"]}), expected)


@pytest.mark.parametrize("name", ["id", "ID", "customer_no", "OrderId", "row", "고객번호", "key"])
def test_names_of_keys(name: str) -> None:
    assert is_key(name, np.array([5.0, 7, 6]))
    assert not is_key(name, np.array([5.0, 7, 7]))
    assert not is_key(name, np.array([5.5, 7, 6]))


@pytest.mark.parametrize("name", ["paid", "humid", "width", "piano", "price"])
def test_names_of_no_keys(name: str) -> None:
    assert not is_key(name, np.array([5.0, 7, 6]))


def test_booleans(tmp_path: Path) -> None:
    columns = {
        "member": [("yes", "No", "YES", "")[k % 4] for k in range(80)],
        "open": [("True", "False")[k % 2] for k in range(80)],
        "mark": [("t", "f", "t")[k % 3] for k in range(80)],
        "label": [k % 2 for k in range(80)],
    }
    data = load(written(tmp_path / "a.csv", columns))
    assert [feature.kind for feature in data.encoding] == ["boolean"] * 3
    assert [feature.flag for feature in data.encoding] == [True, False, False]
    assert set(np.unique(data.train.x)) == {0.0, 1.0}
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data)
    yes = {"member": True, "open": 1, "mark": "T"}
    assert len(predictor.predict(yes)) == 1
    with pytest.raises(DataError, match="column 'open': expected yes or no, found 'maybe'"):
        predictor.predict({**yes, "open": "maybe"})


def test_many_categories_share_a_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    street = [f"s{min(int(k), 400)}" for k in rng.exponential(30, 2000)]
    columns = {"street": street, "label": rng.integers(0, 2, 2000).tolist()}
    data = load(written(tmp_path / "a.csv", columns))
    (feature,) = data.encoding
    assert (len(feature.values), feature.other) == (50, True)
    assert data.features == 51
    assert (data.train.x.sum(axis=1) == 1).all()
    row = encode([np.array(["nowhere"], object)], [feature], float, str)
    assert row.tolist() == [[0] * 50 + [1]]
    assert feature.unseen(np.array(["nowhere"], object)) == []


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["1", "2", "x"], r"line 4, column 1 \('a'\): expected a number, found 'x'"),
        (["1", "", "inf"], r"line 4, column 1 \('a'\): expected finite numbers .* found inf"),
        (["1", "", "1e300"], "expected finite numbers .* found 1e"),
    ],
)
def test_slips_are_no_categories(cells: list[str], said: str, tmp_path: Path) -> None:
    columns = {"a": cells * 20, "b": ["u", "v"] * 30, "label": [0, 1, 2] * 20}
    with pytest.raises(DataError, match=said):
        load(written(tmp_path / "a.csv", columns))


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.csv", people(np.random.default_rng(0)))
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"column 2 \('city'\).*pip install 'gpunet\[tables\]'"):
        load(path, label="age")
    numeric = {"a": list(range(40)), "label": [0, 1] * 20}
    assert load(written(tmp_path / "b.csv", numeric)).encoding is None


def test_numbers_stay_as_they_were_with_the_extra(tmp_path: Path) -> None:
    numeric = {"a": list(range(40)), "b": [3] * 40, "label": [0, 1] * 20}
    data = load(written(tmp_path / "b.csv", numeric))
    assert (data.encoding, data.features) == (None, 2)


def test_text_that_may_be_the_label_is_asked_about(tmp_path: Path) -> None:
    rows = "".join(f"{'abc'[k % 3]},{k},{k % 5}\n" for k in range(60))
    (tmp_path / "a.csv").write_text(rows)
    with pytest.raises(DataError, match="if it is the label, pass label=1"):
        load(tmp_path / "a.csv")
    assert load(tmp_path / "a.csv", label=1).classes == ("a", "b", "c")
    assert load(tmp_path / "a.csv", label=3).encoding[0].kind == "category"


def test_no_header(tmp_path: Path) -> None:
    rows = "".join(f"{'abc'[k % 3]},{k * 7 % 60},{'xy'[k % 2]}\n" for k in range(60))
    (tmp_path / "a.csv").write_text(rows)
    data = load(tmp_path / "a.csv")
    assert (data.columns, data.label) == (("column 1",), "column 3")  # the second is a range
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data)
    (tmp_path / "b.csv").write_text("a,3\nb,5\n")
    assert len(predictor.predict(tmp_path / "b.csv")) == 2


def test_raw_values(data: Dataset, tmp_path: Path) -> None:
    raw = load(tmp_path / "people.csv", normalise=False)
    np.testing.assert_allclose((raw.train.x - data.shift) / data.scale, data.train.x, atol=1e-3)


def test_numbers_are_predicted(tmp_path: Path) -> None:
    columns = people(np.random.default_rng(0))
    data = load(written(tmp_path / "a.csv", columns), label="income")
    assert (data.classes, data.label) == (None, "income")
    assert data.columns == ("age", "city", "kind")


@pytest.mark.parametrize("text", [False, True])
def test_the_index_that_pandas_writes_is_left_out(text: bool, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    columns = (
        people(np.random.default_rng(0)) if text else {"a": [3.0] * N, "kind": ["x", "y"] * 100}
    )
    frame = pandas.DataFrame(columns)
    frame.to_csv(tmp_path / "a.csv")
    data = load(tmp_path / "a.csv")
    assert data.columns == tuple(columns)[:-1]
    assert any("left out: (unnamed)" in note for note in data.notes)
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data)
    expected = predictor.predict(tmp_path / "a.csv")
    np.testing.assert_array_equal(predictor.predict(pandas.read_csv(tmp_path / "a.csv")), expected)
    frame.to_csv(tmp_path / "b.csv", index=False)
    np.testing.assert_array_equal(predictor.predict(tmp_path / "b.csv"), expected)


def test_a_column_without_a_name_that_counts_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",a,kind\n" + "1,2,x\n1,3,y\n" * 20)
    with pytest.raises(DataError, match="a name for every column of the header, found none"):
        load(tmp_path / "a.csv")


def test_rows_on_a_gpu(tmp_path: Path, sim: Any) -> None:
    """Numbers with gaps are filled there; text has no arrays there."""
    columns = people(np.random.default_rng(0))
    numbers = {"age": columns["age"], "income": columns["income"], "kind": columns["kind"]}
    data = load(written(tmp_path / "a.csv", numbers))
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data)
    x = np.array([[30.0, 5e4], [np.nan, 4e4]])
    expected = predictor.predict_proba(x)
    found = predictor.to("cuda").predict_proba(sim.asarray(x))
    np.testing.assert_allclose(found.get(), expected, atol=1e-6)
    data = load(written(tmp_path / "b.csv", columns))
    predictor = gn.Predictor(gn.MLP([data.features, 2]), data).to("cuda")
    with pytest.raises(DataError, match="expected text for city, found an array of cupy"):
        predictor.predict(sim.zeros((2, 3)))


@pytest.mark.parametrize("head", ["", "a,b,label\n"])
def test_damaged_lines_are_told(head: str, tmp_path: Path) -> None:
    lines = [f"{k},{'' if k % 3 else k},{'xy'[k % 2]}" for k in range(20)]
    lines[7] = "1,2"
    (tmp_path / "a.csv").write_text(head + "\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"line \d+: expected 3 cells as in .* found 2"):
        load(tmp_path / "a.csv")


DATES = ["2024-01-02", "2024.1.2", "02/01/2024", "1-2-24", "2024-01-02T03:04:05Z", "3 Mar 2024",
         "March 5, 2024", "2024년 3월 1일", "13:45", "2024-01-02 03:04:05.6+09:00"]  # fmt: skip


@pytest.mark.parametrize("cell", DATES)
def test_dates(cell: str) -> None:
    cells = np.array([cell, cell, ""], object)
    assert inspect("a", cells, float, str).left_out == "a date or a time"


@pytest.mark.parametrize("cell", ["10-20", "1.2.3", "A1", "May", "12 Main St", "3/4", "2024Q1"])
def test_no_dates(cell: str) -> None:
    column = inspect("a", np.array([cell, cell, "other"], object), float, str)
    assert (column.kind, column.left_out) == ("category", None)

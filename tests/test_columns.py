"""gpunet.data.columns: which column is the label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.data import DataError, Dataset, load


def table(
    tmp_path: Path, rows: Sequence[Sequence[Any]], header: str = "", **options: Any
) -> Dataset:
    path = tmp_path / "t.csv"
    lines = ([header] if header else []) + [",".join(map(str, row)) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return load(path, normalise=False, **options)


def all_rows(found: Dataset) -> tuple[Any, Any]:
    parts = (found.train, found.valid, found.test)
    return tuple(np.concatenate([getattr(p, name) for p in parts]) for name in "xt")  # type: ignore


RNG = np.random.default_rng(0)
DIGITS = [(i % 10, *RNG.integers(0, 256, 8)) for i in range(400)]
FLOWERS = [(i / 7, i / 3, i % 3) for i in range(60)]


# The label that is told


@pytest.mark.parametrize("label", ["kind", " kind", "KIND", 2, "2", -2, "-2"])
def test_by_name_or_number(label: str | int, tmp_path: Path) -> None:
    rows = [(i, "abc"[i % 3], i / 2) for i in range(30)]
    found = table(tmp_path, rows, "w,kind,h", label=label)
    assert (found.classes, found.label, found.columns) == (("a", "b", "c"), "kind", ("w", "h"))
    x, t = all_rows(found)
    np.testing.assert_array_equal(x[:, 0] % 3, t)
    np.testing.assert_array_equal(x[:, 0] / 2, x[:, 1])


def test_a_header_counts_even_with_numbers_in_it(tmp_path: Path) -> None:
    found = table(tmp_path, FLOWERS, "w,2020,kind", label="kind")
    assert (found.outputs, len(all_rows(found)[0])) == (3, 60)


def test_it_overrules_the_names(tmp_path: Path) -> None:
    found = table(
        tmp_path, [(i % 2, i / 2, i % 3) for i in range(60)], "label,w,class", label="class"
    )
    assert (found.outputs, found.columns) == (3, ("label", "w"))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("colour", "the label column 'colour', found the columns 'w, h, kind'; pass label= a col"),
        (0, "its number from 1 to 3"),
        (4, "its number from 1 to 3"),
        ("", "the label column ''"),
        ("w", "2 columns of that name; pass the column's number"),
    ],
)
def test_one_that_is_not_there(label: Any, message: str, tmp_path: Path) -> None:
    header = "w,w,kind" if label == "w" else "w,h,kind"
    with pytest.raises(DataError, match=f"t.csv: .*{message}"):
        table(tmp_path, FLOWERS, header, label=label)
    assert len(table(tmp_path, FLOWERS, header, label=3).columns or ()) == 2


def test_without_a_header_a_name_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the label column 'kind', found no header"):
        table(tmp_path, FLOWERS, label="kind")


@pytest.mark.parametrize("source", ["digits", "t.npz"])
def test_only_a_table_has_columns(source: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((9, 2)), t=np.arange(9) % 3)
    path = source if source == "digits" else str(tmp_path / source)
    with pytest.raises(DataError, match=r"^label: expected a .csv, .*; leave it out"):
        load(path, label="t")


# The label that is not told


def test_the_last_column_by_custom(tmp_path: Path) -> None:
    for header in ("", "w,h,kind"):
        found = table(tmp_path, FLOWERS, header)
        assert found.outputs == 3
        assert found.label == ("kind" if header else "column 3")


@pytest.mark.parametrize("last", [None, 0])
def test_pixels_behind_their_label(last: int | None, tmp_path: Path) -> None:
    rows = DIGITS if last is None else [(*row[:-1], last) for row in DIGITS]
    found = table(tmp_path, rows)
    assert (found.outputs, found.features, found.label) == (10, 8, "column 1")
    assert found.columns == tuple(f"column {k}" for k in range(2, 10))
    np.testing.assert_array_equal(
        sorted(map(tuple, all_rows(found)[0])), sorted(r[1:] for r in rows)
    )


@pytest.mark.parametrize(
    "first", [lambda i: f"{i % 2}.0", lambda i: i % 3 + 1, lambda i: "ab"[i % 2]]
)
def test_classes_before_measurements_are_asked_about(first: Any, tmp_path: Path) -> None:
    rows = [(first(i), i / 7, i / 3) for i in range(60)]
    with pytest.raises(DataError, match=r"which column is the label.* label=1 or label=3"):
        table(tmp_path, rows)
    assert table(tmp_path, rows, label=1).classes is not None
    last = [(first(i), i / 7, 2 + 2 * (i % 2)) for i in range(60)]
    if not isinstance(first(0), str) or "." in first(0):
        assert table(tmp_path, last).classes == ("2", "4")
    named = table(tmp_path, [(i % 2, i / 7, i / 3) for i in range(60)], "a,b,c")
    assert (named.classes, named.label) == (None, "c")


def test_bytes_and_a_last_column_of_a_few_numbers(tmp_path: Path) -> None:
    rows = [(*row[:-1], (0, 25, 200)[i % 3]) for i, row in enumerate(DIGITS)]
    with pytest.raises(DataError, match="which column is the label"):
        table(tmp_path, rows)


def test_two_columns_and_numbers_as_targets_are_not_asked_about(tmp_path: Path) -> None:
    assert table(tmp_path, [(i % 2, i / 3) for i in range(60)]).classes is None
    rows = [(i % 2, i / 7, i / 3) for i in range(60)]
    assert table(tmp_path, rows, target="number").label == "column 3"


def test_letters_in_front_are_no_feature(tmp_path: Path) -> None:
    rows = [(chr(65 + i % 26), i % 7, i % 5) for i in range(100)]
    with pytest.raises(DataError, match=r"line 1, column 1: .* if it is the label, pass label=1"):
        table(tmp_path, rows)


# A header of numbers


@pytest.mark.parametrize("targets", ["class", "number"])
def test_numbers_in_order_are_a_header(targets: str, tmp_path: Path) -> None:
    rows = [(i / 7, i / 3, i % 5 / 4, i % 2 if targets == "class" else i / 9) for i in range(90)]
    found = table(tmp_path, rows, "0,1,2,3")
    assert len(all_rows(found)[0]) == 90
    assert (found.label, found.outputs) == ("column 4", 2 if targets == "class" else 1)
    assert table(tmp_path, [r[::-1] for r in DIGITS], "0,1,2,3,4,5,6,7,8").outputs == 10
    assert table(tmp_path, DIGITS, "0,1,2,3,4,5,6,7,8").label == "column 1"


def test_two_numbers_may_be_a_sample(tmp_path: Path) -> None:
    assert len(all_rows(table(tmp_path, [(i / 7, i % 2) for i in range(30)], "0,1"))[0]) == 30
    rows = [(i, 1 - i % 2) for i in range(30)]
    with pytest.raises(DataError, match="line 1: expected a header or a sample, found 0 and 1"):
        table(tmp_path, rows)
    assert len(all_rows(table(tmp_path, rows, "x,label"))[0]) == 30


def test_other_numbers_are_a_sample(tmp_path: Path) -> None:
    assert len(all_rows(table(tmp_path, FLOWERS, "1,2,0"))[0]) == 61


# A label is what is written


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (("0.0", "1.0"), ("0.0", "1.0")),
        (("10", "9"), ("9", "10")),
        (("02", "01", "10"), ("01", "02", "10")),
        (("9007199254740993", "9007199254740992"), ("9007199254740992", "9007199254740993")),
        (("1", "1.0", "a"), ("1", "1.0", "a")),
        (("Cat", "cat"), ("Cat", "cat")),
        (("1e3", "10"), ("10", "1e3")),
    ],
)
def test_names_are_the_cells(cells: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    rows = [(i % len(cells), i / 7, cells[i % len(cells)]) for i in range(60)]
    found = table(tmp_path, rows, "n,w,label")
    assert found.classes == classes
    x, t = all_rows(found)
    assert [classes[k] for k in t] == [cells[int(n)] for n in x[:, 0]]


@pytest.mark.parametrize("cells", [("1", "1.0"), ("01", "1"), ("0", "-0", "2"), ("1e1", "10", "5")])
def test_one_number_in_two_spellings(cells: Any, tmp_path: Path) -> None:
    rows = [(i % len(cells), i / 7, cells[i % len(cells)]) for i in range(60)]
    with pytest.raises(DataError, match=r"each label written in one way, found '.*' and '.*'"):
        table(tmp_path, rows)
    found = table(tmp_path, rows, target="class")
    assert sorted(found.classes or ()) == sorted(cells)
    assert table(tmp_path, rows, target="number").classes is None

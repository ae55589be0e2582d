"""gpunet.data.cells: delimiters, quotes and numbers as people's programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpunet.data import DataError, Dataset, load


def table(tmp_path: Path, text: str, **options: object) -> Dataset:
    path = tmp_path / "t.csv"
    path.write_text(text, "utf-8", newline="")
    return load(path, normalise=False, **options)  # type: ignore[arg-type]


def features(found: Dataset) -> list[list[float]]:
    parts = (found.train, found.valid, found.test)
    return sorted(row.tolist() for part in parts for row in part.x)


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"sep=;"', "sep=; "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["a;b;label", ""])
def test_a_first_line_names_the_delimiter(line: str, end: str, header: str, tmp_path: Path) -> None:
    lines = [line, *([header] if header else []), *(f"{i};{i % 5};{i % 2}" for i in range(20))]
    found = table(tmp_path, end.join(lines))
    assert (found.features, found.outputs) == (2, 2)
    assert features(found) == [[i, i % 5] for i in range(20)]


@pytest.mark.parametrize(("name", "mark"), [("sep=|", "|"), ("sep=\t", "\t"), ("sep=\\t", "\t")])
def test_any_delimiter_can_be_named(name: str, mark: str, tmp_path: Path) -> None:
    rows = "".join(f"{i}{mark}{i % 2}\n" for i in range(20))
    assert table(tmp_path, f"{name}\n{rows}").features == 1


def test_lines_are_counted_with_the_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3, column 1: .* found 'x'"):
        table(tmp_path, "sep=;\n1;a\nx;b\n")


def test_a_space_before_a_quote_is_no_part_of_the_cell(tmp_path: Path) -> None:
    gaps = ["", " ", "  "]
    text = "".join(
        f'{i},{gaps[i % 3]}"{i % 5}",{gaps[i % 2]}"{("cat", "dog")[i % 2]}"\n' for i in range(20)
    )
    found = table(tmp_path, "a,b,label\n" + text)
    assert found.classes == ("cat", "dog")
    assert features(found) == [[i, i % 5] for i in range(20)]


@pytest.mark.parametrize(
    "row",
    ["{i};{j},5;{c}", "{i}\t{j},5\t{c}", '{i},"{j},5",{c}', '{i}, "{j},5",{c}', '{i};"{j},5";{c}'],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_decimal_commas_in_one_column(row: str, end: str, tmp_path: Path) -> None:
    lines = [row.format(i=i, j=i % 7, c="ab"[i % 2]) for i in range(20)]
    assert features(table(tmp_path, end.join(lines))) == [[i, i % 7 + 0.5] for i in range(20)]


def test_a_target_with_decimal_commas_is_a_number(tmp_path: Path) -> None:
    found = table(tmp_path, "".join(f"{i};{i % 5};{i % 7},5\n" for i in range(60)))
    assert found.classes is None
    parts = [found.train.t, found.valid.t, found.test.t]
    assert sorted(np.concatenate(parts)[:, 0].tolist()) == sorted(i % 7 + 0.5 for i in range(60))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ('{i},"{k:,}",{c}', 2345.0),
        ('{i},"{k:,}.50",{c}', 2345.5),
        ("{i};{k:,}.50;{c}", 2345.5),
        ("{i};{k:,},000;{c}", 2345000.0),
        ("{i};2.345,50;{c}", 2345.5),
        ("{i}.5;{k:,};{c}", 2345.0),
        ("{i};2.345.678;{c}", None),
    ],
)
def test_thousands(row: str, found: float | None, tmp_path: Path) -> None:
    lines = [row.format(i=i, k=2345, c="ab"[i % 2]) for i in range(20)]
    if found is None:  # nothing tells that these are numbers
        with pytest.raises(DataError):
            table(tmp_path, "\n".join(lines))
    else:
        assert {row[1] for row in features(table(tmp_path, "\n".join(lines)))} == {found}


def test_one_way_of_writing_serves_the_whole_file(tmp_path: Path) -> None:
    text = "".join(f"{i};{v};{'ab'[i % 2]}\n" for i, v in enumerate(["1.234,5", "2.345", "7"] * 9))
    assert {row[1] for row in features(table(tmp_path, text))} == {1234.5, 2345, 7}
    text = "".join(f"{i};{v};{'ab'[i % 2]}\n" for i, v in enumerate(["1,234.5", "2,345", "7"] * 9))
    assert {row[1] for row in features(table(tmp_path, text))} == {1234.5, 2345, 7}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949", "euc-kr"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = "나이,지역,label\n" + "".join(f"{i},{i % 5},{'남여'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = load(tmp_path / "t.csv")
    assert (found.columns, found.classes) == (("나이", "지역"), ("남", "여"))


@pytest.mark.parametrize("word", ["café", "Zürich", "Ärger", "façade", "naïve"])
def test_latin_letters_are_not_taken_for_korean(word: str, tmp_path: Path) -> None:
    text = "a,label\n" + "".join(f"{i},{(word, 'b')[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match="expected UTF-8 text, found the byte 0x"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize("cells", ["1,234;2,500", "-9,999;+10,000"])
def test_what_may_be_thousands_is_asked(cells: str, tmp_path: Path) -> None:
    text = "x;y;label\n" + "".join(f"{cells};{'ab'[i % 2]}\n" for i in range(20))
    with pytest.raises(DataError, match=r"t.csv: line 2: expected numbers with one meaning, found"):
        table(tmp_path, text)
    assert features(table(tmp_path, text.replace("x;y", "x;0,5").replace("0,5", "y") + "0,5;1;a\n"))


def test_commas_and_points_do_not_mix(tmp_path: Path) -> None:
    text = "".join(f"{i},5;{i}.5;{'ab'[i % 2]}\n" for i in range(20))
    with pytest.raises(DataError, match=r"line 1, column 2: .* found '0.5'; write all numbers"):
        table(tmp_path, text)

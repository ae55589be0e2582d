"""gpunet.study.columns: aligned, in as many columns as there is room for."""

from __future__ import annotations

from gpunet.study.columns import aligned, folded, wide

ROWS = [["", "name", "loss", "rates that work"], ["*", "Adam", "0.1", "0.01 to 1"]]


def test_words_left_numbers_right() -> None:
    assert aligned([["a", "loss"], ["bbb", "1"]], words=1) == ["a    loss", "bbb     1"]


def test_korean_takes_two_columns_a_letter() -> None:
    assert [wide(words) for words in ("", "loss", "손실", "e\u0301", "손 1")] == [0, 4, 4, 1, 4]
    lines = aligned([["손실", "x"], ["a", "y"]], words=2)
    assert lines == ["손실  x", "a     y"]


def test_a_table_that_fits_stays_whole() -> None:
    assert folded(ROWS, 2, 80) == aligned(ROWS, words=4)


def test_one_that_does_not_is_folded_and_no_word_is_lost() -> None:
    lines = folded(ROWS, 2, 24)
    assert lines == [
        "   name  loss",
        "*  Adam  0.1",
        "",
        "   name  rates that work",
        "*  Adam  0.01 to 1",
    ]
    assert all(wide(line) <= 24 for line in lines)
    assert folded(ROWS, 2, 5) == lines  # a column that is wider stands alone

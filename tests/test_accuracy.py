"""benchmarks.accuracy: the table in docs/estimators.md is that of the newest record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import accuracy
from benchmarks.records import newest


def test_the_page_holds_the_newest_record() -> None:
    text = accuracy.PAGE.read_text("utf-8")
    assert accuracy.page(text, accuracy.FOLDER) == text
    assert "not yet measured" not in text


def test_the_record_has_every_data_set_and_seed() -> None:
    scores = newest(accuracy.FOLDER, accuracy.table)["cpu"]["scores"]
    assert list(scores) == list(accuracy.DATA)
    for found in scores.values():
        assert {len(each) for each in found.values()} == {len(accuracy.SEEDS)}
        ours, theirs = (sum(found[who]) / 5 for who in (accuracy.OURS, accuracy.THEIRS))
        assert ours > theirs - 0.02


def test_without_a_record_it_says_so_and_another_record_is_another_table(tmp_path: Path) -> None:
    text = accuracy.PAGE.read_text("utf-8")
    assert "\nnot yet measured\n" in accuracy.page(text, tmp_path)
    one = newest(accuracy.FOLDER, accuracy.table)["cpu"]
    one["scores"]["wine"][accuracy.OURS] = [0.5] * 4 + [1.0]
    (tmp_path / "a.json").write_text(json.dumps(one))
    assert "| wine | accuracy | 0.600 ± 0.224 |" in accuracy.page(text, tmp_path)
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ValueError, match=r"b\.json: no such record"):
        accuracy.page(text, tmp_path)


def test_a_score_is_measured_again() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    scores = newest(accuracy.FOLDER, accuracy.table)["cpu"]["scores"]
    for who, made in accuracy.estimators(True).items():
        assert accuracy.score(made, "wine", 0) == pytest.approx(scores["wine"][who][0], abs=0.05)

"""benchmarks.optimizers: the READMEs say of the optimizers what the newest record says."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

import gpunet as gn
from benchmarks import optimizers
from benchmarks.records import Record, newest
from benchmarks.tables import READMES


@pytest.fixture(scope="module")
def record() -> Record:
    return newest(optimizers.FOLDER, lambda one: optimizers.sentences(one, "en"))["cpu"]


@pytest.mark.parametrize("file", READMES, ids=lambda file: file.name)
def test_a_readme_holds_the_newest_record(file: Path) -> None:
    text = file.read_text("utf-8")
    language = "ko" if ".ko" in file.suffixes else "en"
    assert optimizers.with_sentences(text, optimizers.FOLDER, language) == text


def test_the_record_has_every_optimizer_and_two_kernels(record: Record) -> None:
    names = {kind.__name__ for kind in gn.OPTIMIZERS.values()}
    assert [{row["optimizer"] for row in run["rows"]} for run in record["runs"]] == [names, names]
    assert len({run["kernels"] for run in record["runs"]}) == 2


def test_the_verdict_is_the_same_with_either_kernel(record: Record) -> None:
    one, other = record["runs"]
    assert one["headline"] == other["headline"]
    assert [row["valid_loss"] for row in one["rows"]] != [
        row["valid_loss"] for row in other["rows"]
    ]
    ties = [{row["optimizer"] for row in run["rows"] if row["leads"]} for run in record["runs"]]
    assert len(ties[0] ^ ties[1]) <= 2  # those on the border


def test_another_record_is_another_sentence(record: Record, tmp_path: Path) -> None:
    other = copy.deepcopy(record)
    for run in other["runs"]:
        for row in run["rows"]:
            row["leads"] = row["optimizer"] in ("Adam", "Lion")
            if row["optimizer"] == "COCOB":
                row["valid_loss"] = min(r["valid_loss"] for r in run["rows"]) + 0.5
    words = optimizers.sentences(other, "en").replace("\n", " ")
    assert "2 of the 16 tie" in words
    assert "COCOB, without any learning rate, is not among them, 0.500 above the lowest." in words
    assert "16가지 가운데 2가지가" in optimizers.sentences(other, "ko").replace("\n", " ")
    (tmp_path / "one.json").write_text(json.dumps(other))
    text = "<!-- optimizers:begin -->\n<!-- optimizers:end -->"
    assert "2 of the 16" in optimizers.with_sentences(text, tmp_path, "en")
    (tmp_path / "two.json").write_text("{}")
    with pytest.raises(ValueError, match=r"two\.json: no such record"):
        optimizers.with_sentences(text, tmp_path, "en")

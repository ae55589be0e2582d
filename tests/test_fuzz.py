"""Short forms of tests/tools: damaged files, odd commands, kills at file operations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gpunet.study import pictures
from tests.tools import fuzz, kill_files, odd_commands

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of POSIX")


@pytest.mark.parametrize("form", [form.name for form in fuzz.formats()])
def test_damaged_files_are_read_or_refused(form: str) -> None:
    found = fuzz.fuzz(60, seed=7, only=[form])
    assert len(found) == 60
    assert fuzz.bad(found) == []
    assert sum(one.said == "refused" for one in found) > 10


def test_the_fuzzer_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str) -> None:
        content = Path(path).read_bytes()
        if content != b"whole":
            errors = [KeyError("x"), ValueError("no name"), ValueError(f"{path}:\nlong"), None]
            if error := errors[len(content) % 4]:
                raise error

    wrong = [fuzz.Format("wrong", [b"whole"], read, sealed=True)]
    monkeypatch.setattr(fuzz, "formats", lambda: wrong)
    found = {one.said for one in fuzz.fuzz(60)}
    names = {"raw KeyError", "the file is not named", "more than a line", "damaged, but read"}
    assert names <= found


def test_a_child_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [fuzz.Format("wrong", [b"whole"], lambda path: os._exit(3))]
    monkeypatch.setattr(fuzz, "formats", lambda: wrong)
    assert [one.said for one in fuzz.fuzz(2)] == ["ended: 3", "ended: 3"]


def test_odd_commands_end_in_one_line() -> None:
    found = odd_commands.trials(14, seed=52)
    assert [one for one in found if one.wrong] == []
    assert {one.status for one in found} >= {0, 2}


def test_a_training_is_killed_at_some_file_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "can_plot", lambda: False)  # which takes the most time
    out = tmp_path / "out"
    words = ["train", "--epochs", 1, "--hidden", 2, "--device", "cpu", "--out", out, "--seed"]
    old, new = (lambda seed=seed: kill_files.command(*words, seed) for seed in (1, 2))
    assert kill_files.whole(old, new, out, step=13) == []

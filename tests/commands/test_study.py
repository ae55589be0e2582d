"""gpunet.commands.study, by click's own runner."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpunet.commands.study import study


def run(*arguments: object) -> Result:
    return CliRunner().invoke(study, [str(a) for a in arguments])


def test_batchnorm_prints_and_draws(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    result = run("batchnorm", "--out", out, "--rows", 3, "--features", 4)
    assert result.exit_code == 0, result.output
    assert "normalise: n = c / r" in result.output
    assert f"written to {out / 'batchnorm.svg'}" in result.output
    assert (out / "batchnorm.svg").read_bytes().startswith(b"<svg")


def test_the_seed_decides(tmp_path: Path) -> None:
    texts = [run("batchnorm", "--out", tmp_path, "--seed", seed).output for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("bad", [("--rows", 1), ("--features", 0), ("--seed", -1)])
def test_numbers_out_of_range(bad: tuple[str, int], tmp_path: Path) -> None:
    result = run("batchnorm", "--out", tmp_path, *bad)
    assert result.exit_code == 2
    assert bad[0] in result.output


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("batchnorm", "--out", tmp_path / "file" / "inside")
    assert result.exit_code == 1
    assert "Error: --out" in result.output
    assert "Traceback" not in result.output

"""docs/notes.md: every command in it runs and prints what the row says it does.

Rows that name an example are in tests/test_examples.py, where each example runs once.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gpunet.cli import cli
from gpunet.commands.study import study
from gpunet.study import pictures
from tests.notes import PAGE, Claim, assert_quoted, claims

CLAIMS = claims()
COMMANDS = [claim for claim in CLAIMS if claim.command[0] == "gpunet"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], str]:
    """What a command prints; each runs once, and leaves its files in a folder of the test's. (Its
    pictures are drawn by the tests of each.)
    """

    @cache
    def printed(command: tuple[str, ...]) -> str:
        out = ["--out", str(tmp_path_factory.mktemp("out"))] if _writes(command) else []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pictures, "can_plot", lambda: False)
            found = CliRunner().invoke(cli, [*command[1:], *out])
        assert found.exit_code == 0, f"{shlex.join(command)}: {found.output}"
        return found.output

    return printed


def _writes(command: tuple[str, ...]) -> bool:
    parsed = cli.get_command(click.Context(cli), command[1])
    assert parsed is not None
    parsed = parsed.commands[command[2]] if command[1] == "study" else parsed  # type: ignore[attr-defined]
    return any("--out" in option.opts for option in parsed.params)


@pytest.mark.parametrize("claim", COMMANDS, ids=lambda claim: claim.words[:60])
def test_the_command_prints_what_the_row_says(
    claim: Claim, printed: Callable[[tuple[str, ...]], str]
) -> None:
    assert_quoted(claim, printed(claim.command))


def test_every_claim_has_a_command_and_a_number_that_it_prints() -> None:
    assert len(CLAIMS) > 10
    for claim in CLAIMS:
        assert claim.command[0] in ("gpunet", "python"), claim.words
        assert claim.quoted, f"{claim.words}: nothing of the answer is quoted"
        assert claim.condition, f"{claim.words}: say whether it is right as it stands"


@pytest.mark.parametrize("page", [PAGE, PAGE.parent / "ko/notes.md"], ids=lambda p: p.parent.name)
def test_every_row_belongs_to_a_table(page: Path) -> None:
    """One behind an empty line would be a paragraph."""
    lines = ["", *page.read_text("utf-8").splitlines()]
    for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
        head = after.startswith("| --- ")
        assert not line.startswith("|") or head or before.startswith("|"), line


def test_every_study_is_in_the_notes() -> None:
    assert set(study.commands) <= {c.command[2] for c in COMMANDS if c.command[1] == "study"}


@pytest.mark.parametrize(
    ("quoted", "off", "printed", "holds"),
    [
        ("0.5 2", 0.0, "x  0.5   2", True),
        ("0.5", 0.0, "10.5", False),
        ("0.5", 0.0, "0.51", False),
        ("0.5", 0.0, "at 0.5.", True),
        ("loss 0.5", 0.25, "loss 0.6, and", True),
        ("loss 0.5", 0.25, "loss 0.7, and", False),
        ("loss 0.5", 0.25, "gain 0.5, and", False),
        ("1,000 rows", 0.25, "1,100 rows", True),
    ],
)
def test_a_wrong_number_is_seen(quoted: str, off: float, printed: str, holds: bool) -> None:
    claim = Claim("", ("gpunet",), ((quoted, off),), "")
    if holds:
        assert_quoted(claim, printed)
    else:
        with pytest.raises(AssertionError, match="does not print"):
            assert_quoted(claim, printed)

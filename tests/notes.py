"""docs/notes.md as it is read by the tests: claims, what shows them, and what that prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent.parent / "docs/notes.md"
SPAN = re.compile(r"`([^`\n]+)`")
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")
# How far a number behind these words may be off: those of trainings differ by the BLAS.
OFF = {"": 0.0, "about": 0.25, "roughly": 0.5}


class Claim(NamedTuple):
    """A row: its words, its command as arguments, and what is quoted of the answer, each with how
    far its numbers may be off.
    """

    words: str
    command: tuple[str, ...]
    quoted: tuple[tuple[str, float], ...]
    condition: str

    @property
    def example(self) -> str | None:
        """The example's name, where it is one."""
        return Path(self.command[1]).stem if self.command[0] == "python" else None


def claims() -> list[Claim]:
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and SPAN.search(cells[1]):
            words, shown, given, condition = cells
            quoted = re.findall(r"(about|roughly|) ?`([^`]+)`", given)
            command = tuple(shlex.split(SPAN.findall(shown)[0]))
            spans = tuple((text, OFF[word]) for word, text in quoted)
            found.append(Claim(words, command, spans, condition))
    return found


def assert_quoted(claim: Claim, printed: str) -> None:
    """Each quotation stands in a line of what was printed; spaces may be more."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for text, off in claim.quoted:
        seen = any(_near(text, line, off) if off else _in(text, line) for line in lines)
        assert seen, f"{shlex.join(claim.command)} does not print {text!r}:\n{printed}"


def _in(text: str, line: str) -> bool:
    """Not as part of a longer word or number."""
    return bool(re.search(rf"(?<![\w.]){re.escape(text)}(?![\w]|\.\d)", line))


def _near(text: str, line: str, off: float) -> bool:
    parts = [re.escape(part) for part in NUMBER.split(text)]
    pattern = f"({NUMBER.pattern})".join(parts)
    wanted = [_value(number) for number in NUMBER.findall(text)]
    return any(
        all(
            abs(_value(number) - value) <= off * abs(value)
            for number, value in zip(match.groups(), wanted, strict=True)
        )
        for match in re.finditer(rf"(?<![\w.]){pattern}", line)
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))

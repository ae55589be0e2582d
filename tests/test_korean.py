"""docs/ko/ and README.ko.md beside the English pages: as complete, and behind none of them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.test_documents import FENCE, LINK, ROOT, SPAN, code, commands, headings, prose

ENGLISH, KOREAN = ROOT / "docs", ROOT / "docs/ko"
PAGES = sorted(page.relative_to(KOREAN) for page in KOREAN.rglob("*.md"))
WANTED = {"backward.md", "book.md", "notes.md", "tour.md", *(f"optimizers/{p.name}" for p in (
    ENGLISH / "optimizers").glob("*.md"))}  # fmt: skip
MONTHS = "January February March April May June July August September October November December"
NUMBER = re.compile(r"(?<![\w.^])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
HANGUL = re.compile("[가-힣]")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.as_posix())


def text(page: Path) -> str:
    """What is to be translated: without code, with the words of links but not their targets."""
    return LINK.sub(r"\1", SPAN.sub("", prose(page)))


def numbers(page: Path) -> Counter[str]:
    words = text(page)
    for k, month in enumerate(MONTHS.split(), 1):
        words = re.sub(rf"\b{month}\b", str(k), words)
    return Counter(n.rstrip(",").replace(",", "") for n in NUMBER.findall(words))


def targets(page: Path) -> Counter[str]:
    """Where the links lead; a Korean page stands for the English one."""
    found = []
    for _, target in LINK.findall(prose(page)):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if path.is_relative_to(KOREAN):
                path = ENGLISH / path.relative_to(KOREAN)
            target = f"{path.relative_to(ROOT)}#{anchor}"
        found.append(target)
    return Counter(found)


def rows(page: Path) -> list[int]:
    """The columns of each line of a table."""
    return [line.count("|") for line in prose(page).splitlines() if line.startswith("| ")]


def differences(korean: Path, english: Path) -> list[str]:
    """What one page has and the other has not, in words; none if they agree."""
    found = []
    for what, read in (
        ("headings", headings),
        ("blocks of code", code),
        ("commands", commands),
        ("rows of tables", rows),
    ):
        if read(korean) != read(english):
            found.append(f"its {what} are not those of the English page")
    sets = (("numbers", numbers), ("links", targets), ("code in the text", spans))
    for what, count in sets:
        one, other = count(korean), count(english)
        missing, more = sorted((other - one).elements()), sorted((one - other).elements())
        if missing or more:
            found.append(f"{what}: it lacks {missing}, and has {more} too many")
    return found


def spans(page: Path) -> Counter[str]:
    return Counter(set(SPAN.findall(prose(page).replace("\n", " "))))


def test_every_page_of_the_notes_is_there() -> None:
    assert {page.as_posix() for page in PAGES} >= WANTED


@each_page
def test_a_korean_page_says_what_the_english_one_says(page: Path) -> None:
    behind = differences(KOREAN / page, ENGLISH / page)
    assert not behind, f"docs/ko/{page} is behind docs/{page}: " + "; ".join(behind)


def test_the_readme_says_what_the_english_one_says() -> None:
    """Links to what is there in Korean lead to the Korean page."""
    page = ROOT / "README.ko.md"
    behind = differences(page, ROOT / "README.md")
    allowed = ("links", "numbers", "code in the text")  # it names examples for readers of the notes
    assert [b for b in behind if not b.startswith(allowed)] == []
    for _, target in LINK.findall(prose(page)):
        path = target.partition("#")[0]
        if path.startswith("docs/") and not path.startswith("docs/ko"):
            assert not (ROOT / path.replace("docs/", "docs/ko/", 1)).exists(), (
                f"{path} is in Korean"
            )


@each_page
def test_it_is_korean(page: Path) -> None:
    """Every paragraph, point and row of a table that has words has Korean ones."""
    plain = FENCE.sub("", (KOREAN / page).read_text("utf-8"))
    for part in re.split(r"\n\n+", plain):
        words = LINK.sub(" ", SPAN.sub(" ", part))
        if part.startswith("    ") or len(re.findall("[A-Za-z]{4,}", words)) < 9:
            continue
        assert HANGUL.search(words) or "·" in words, part
        assert "두 자릿수" not in words, part


def test_a_page_that_is_behind_is_seen(tmp_path: Path) -> None:
    english = "# One\n\nThe rate is 0.1 in `SGD`: [see](a.md).\n\n```python\nx = 1  # one\n```\n"
    korean = (
        "# 하나\n\n`SGD`의 학습률은 0.1입니다: [보기](a.md).\n\n```python\nx = 1  # 하나\n```\n"
    )
    pages = tmp_path / "korean.md", tmp_path / "english.md"
    for page, words in zip(pages, (korean, english), strict=True):
        page.write_text(words, "utf-8")
    assert [c(pages[0]) for c in (numbers, code, headings)] == [
        c(pages[1]) for c in (numbers, code, headings)
    ]
    for changed in (
        english.replace("0.1", "0.2"),
        english + "\n## Two\n",
        english.replace("x = 1", "x = 2"),
    ):
        pages[1].write_text(changed, "utf-8")
        assert [c(pages[0]) for c in (numbers, code, headings)] != [
            c(pages[1]) for c in (numbers, code, headings)
        ]

"""The language in which studies answer: English, or Korean by `gpunet --lang ko`.

Words are written in English where they are found, f"the lowest of {n} losses", and go through `say`
where they are shown. ko.json has the Korean of each, with {1}, {2} for what changes, which may hold
words of its own: {"the lowest of {1} losses": "손실 {1}개 가운데 최저"}. {1:은는} adds the particle
that fits, {1:배} makes a ratio of decades. What the catalogue lacks stays English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files

LANGUAGES = ("en", "ko")
_language: ContextVar[str] = ContextVar("gpunet language", default="en")
HOLE = re.compile(r"\{(\d)(?::([가-힣]+))?\}")

# A particle goes with the sound before it: after a consonant the first, after a vowel the second.
PARTICLES = {"은는": ("은", "는"), "이가": ("이", "가"), "을를": ("을", "를"), "과와": ("과", "와")}
FINAL_LETTERS = "lmnbpkgt"  # how most names that end so are read: Adam, RMSProp, Lion
FINAL_DIGITS = "013678"
READ_OTHERWISE = {"COCOB": True}  # as a word, not letter by letter


def language() -> str:
    """ "en" or "ko"."""
    return _language.get()


@contextmanager
def spoken(chosen: str) -> Iterator[None]:
    """Inside it studies answer in this language, "en" or "ko": `with gn.study.spoken("ko"): ...`.

    ValueError for one that is not there.
    """
    if chosen not in LANGUAGES:
        raise ValueError(f"no language {chosen!r}; there are {', '.join(LANGUAGES)}")
    before = _language.set(chosen)
    try:
        yield
    finally:
        _language.reset(before)


def preferred(environment: Mapping[str, str]) -> str:
    """What LC_ALL, LC_MESSAGES or LANG ask for, the first that is set: "ko" for ko_KR.UTF-8."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    asked = next((environment[name] for name in names if environment.get(name)), "")
    return "ko" if re.match(r"ko([_.@]|$)", asked) else "en"


def say(words: str) -> str:
    """These English words in the language that is spoken."""
    return korean(words) if language() == "ko" else words


def listed(words: Iterable[str]) -> str:
    """ "a, b and c", each in the language that is spoken."""
    said = list(map(say, words))
    if language() == "ko":
        return ", ".join(said)
    return " and ".join(part for part in (", ".join(said[:-1]), said[-1]) if part)


def template(text: str) -> str:
    """A page with every {{say English words}} of it said."""
    return re.sub(
        r"\{\{say (.+?)\}\}", lambda found: say(" ".join(found[1].split())), text, flags=re.DOTALL
    )


def of_script(script: str) -> dict[str, str]:
    """What a script says by `say("...")`, in the language that is spoken."""
    return {words: say(words) for words in re.findall(r'\bsay\("([^"]+)"', script)}


def korean(words: str) -> str:
    """What the catalogue has for the words, whole or by a pattern; else the words themselves."""
    known = catalogue()
    if words in known:
        return known[words]
    for pattern, answer in _patterns():
        if found := pattern.fullmatch(words):
            return _filled(answer, [korean(part) for part in found.groups()])
    return words


@cache
def catalogue() -> dict[str, str]:
    """ko.json: English to Korean."""
    found: dict[str, str] = json.loads(files("gpunet.study").joinpath("ko.json").read_text("utf-8"))
    return found


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Those with holes, the ones that say most first."""
    with_holes = [english for english in catalogue() if HOLE.search(english)]
    with_holes.sort(key=lambda english: -len(HOLE.sub("", english)))
    return [(_pattern(english), catalogue()[english]) for english in with_holes]


def _pattern(english: str) -> re.Pattern[str]:
    """Each hole, from {1} on in this order, takes anything; one word where the pattern says next to
    nothing itself, as "{1} of {2}".
    """
    parts = HOLE.split(english)[::3]
    hole = r"(\S+)" if len(re.findall("[A-Za-z]", "".join(parts))) < 4 else "(.+?)"
    return re.compile(hole.join(map(re.escape, parts)), re.DOTALL)


def _filled(answer: str, parts: list[str]) -> str:
    def put(hole: re.Match[str]) -> str:
        part, kind = parts[int(hole[1]) - 1], hole[2]
        if kind == "배":
            return ratio(part)
        return part + particle(part, kind) if kind else part

    return HOLE.sub(put, answer)


def ratio(decades: str) -> str:
    """Decades as Korean says them, "2.0" as 100배: the highest by the lowest."""
    number = decades.lstrip("≥")
    times = float(f"{10 ** float(number):.2g}")
    return f"{decades[: len(decades) - len(number)]}{times:,g}배"


def particle(word: str, kind: str) -> str:
    """은 or 는, 이 or 가, ... as the word before it is read; `kind` names both."""
    if kind == "으로":
        return (
            "으로" if ends_in_consonant(word) and not word.endswith(("l", "1", "7", "8")) else "로"
        )
    return PARTICLES[kind][not ends_in_consonant(word)]


def ends_in_consonant(word: str) -> bool:
    """Whether its last sound is one: 손실 and Adam do, 정확도 and AdaDelta do not."""
    word = re.sub(r"\s*\([^()]*\)$", "", word).rstrip("\"' ").rpartition(" ")[2]
    last = word[-1:]
    if word in READ_OTHERWISE:
        return READ_OTHERWISE[word]
    if "가" <= last <= "힣":
        return (ord(last) - ord("가")) % 28 > 0
    if last.isdigit():
        return last in FINAL_DIGITS
    if word.isupper():  # read letter by letter
        return last in "LMNR"
    return last in FINAL_LETTERS

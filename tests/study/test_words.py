"""gpunet.study.words: every word that the studies show is there in Korean, and fits."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gpunet.cli import cli
from gpunet.optim import OPTIMIZERS
from gpunet.study import words
from gpunet.study.words import HOLE, catalogue, korean, particle, preferred, say, spoken

ROOT = Path(__file__).resolve().parents[2]
PLACES = [ROOT / "gpunet/study", ROOT / "gpunet/commands"]
NAMES = {kind.__name__ for kind in OPTIMIZERS.values()} | set(OPTIMIZERS) | {"Newton"}


def test_english_is_what_is_written() -> None:
    assert words.language() == "en"
    assert say("The lowest loss") == "The lowest loss"
    with spoken("ko"):
        assert say("The lowest loss") == "가장 낮은 손실"
        assert say("nobody has said this") == "nobody has said this"
    assert words.language() == "en"
    with pytest.raises(ValueError, match="no language 'xx'; there are en, ko"), spoken("xx"):
        pass


def test_a_pattern_takes_what_changes_and_translates_it_too() -> None:
    assert korean("How fast to loss 0.25") == "손실 0.25까지 얼마나 빠른가"
    assert korean("No rate that was tried works for Adam.").startswith("Adam에는 ")
    assert korean("Widest, 2.0 decades: SGD (0.1 to 10).").endswith("비 100배): SGD(0.1~10).")
    assert words.ratio("≥1.5") == "≥32배"
    assert korean("3 of 27") == "27번 중 3번"
    assert korean("a line of words that is not there") == "a line of words that is not there"


@pytest.mark.parametrize(
    ("word", "topic"),
    [
        *(("Adam", "은"), ("SGD", "는"), ("RMSProp", "은"), ("AdaGrad", "는"), ("COCOB", "은")),
        *(("AdamW", "는"), ("손실", "은"), ("정확도", "는"), ("0.5", "는"), ("10", "은")),
        *(
            ("Adam (0.01)", "은"),
            ("MLP", "는"),
            ("Lion", "은"),
            ("12%", "는"),
            ("Adam, COCOB", "은"),
        ),
    ],
)
def test_a_particle_goes_with_the_sound_before_it(word: str, topic: str) -> None:
    assert particle(word, "은는") == topic


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "kok_IN"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "ko_KR"}, "ko"),
        ({"LC_ALL": "", "LANG": "ko_KR"}, "ko"),
    ],
)
def test_the_environment_is_asked_in_its_order(environment: dict[str, str], language: str) -> None:
    assert preferred(environment) == language


def test_the_command_line_speaks_by_option_variable_and_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def told(*options: str) -> str:
        return CliRunner().invoke(cli, [*options, "study", "units"]).output

    assert "같은 학습률" in told("--lang", "ko")
    assert "same rate" in told()
    monkeypatch.setenv("GPUNET_LANG", "ko")
    assert "같은 학습률" in told()
    assert "same rate" in told("--lang", "en")
    monkeypatch.delenv("GPUNET_LANG")
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert "같은 학습률" in told()
    assert "'xx' is not one of 'en', 'ko'" in told("--lang", "xx")


# The catalogue


def sources() -> Iterator[tuple[Path, str]]:
    for place in PLACES:
        for kind in ("py", "html", "js"):
            for file in place.rglob(f"*.{kind}"):
                yield file, file.read_text("utf-8")


def template_of(node: ast.expr) -> str | None:
    """An f-string as a key of the catalogue."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    found, holes = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            found += str(part.value)
        else:
            holes += 1
            found += f"{{{holes}}}"
    return found


def fitting(template: str) -> Callable[[str], bool]:
    """Whether a key is what the f-string may give: a word or a hole for each of its holes."""
    parts = map(re.escape, HOLE.split(template)[::3])
    pattern = re.compile(".+".join(parts), re.DOTALL)
    return lambda key: pattern.fullmatch(key) is not None


def there(template: str) -> bool:
    one = HOLE.sub("1", template)
    return any(map(fitting(template), catalogue())) or korean(one) != one


def test_what_is_said_is_in_the_catalogue() -> None:
    missing = []
    for file, text in sources():
        if file.suffix == ".py":
            calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
            said = [c.args[0] for c in calls if getattr(c.func, "id", "") == "say"]
            keys = [key for node in said if (key := template_of(node)) is not None]
            known = list(map(there, keys))
        else:
            keys = [" ".join(k.split()) for k in re.findall(r"\{\{say (.+?)\}\}", text, re.DOTALL)]
            keys += re.findall(r'\bsay\("([^"]+)"', text)
            known = [key in catalogue() for key in keys]
        missing += [(file.name, k) for k, there in zip(keys, known, strict=True) if not there]
    assert missing == []


def test_what_tables_hold_is_in_the_catalogue() -> None:
    """Their titles, heads and what to notice in them: `Table` says these."""
    missing = []
    for file, text in sources():
        calls = ast.walk(ast.parse(text)) if file.suffix == ".py" else ()
        for call in calls:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Table":
                heads = [e for arg in call.args[1:2] for e in getattr(arg, "elts", ())]
                nodes = [*call.args[:1], *heads, *call.args[3:4]]
                keys = filter(None, map(template_of, nodes))
                missing += [
                    (file.name, key)
                    for key in keys
                    if english_left(HOLE.sub("", key)) and not there(key)
                ]
    assert missing == []


def test_nothing_in_the_catalogue_is_unused() -> None:
    """Every word of a key stands in a text of the source."""
    written = " ".join(" ".join(text.split()) for _, text in sources())
    for file, text in sources():
        if file.suffix == ".py":
            nodes = (
                n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.Constant, ast.JoinedStr))
            )
            written += "\n".join(filter(None, map(template_of, nodes)))
    known = set(re.findall(r"[A-Za-z]+", written))
    assert [k for k in catalogue() if not set(re.findall(r"[A-Za-z]+", k)) <= known] == []


def test_holes_are_numbered_and_all_are_there() -> None:
    for english, answer in catalogue().items():
        holes = [hole[1] for hole in HOLE.finditer(english)]
        assert holes == [str(k + 1) for k in range(len(holes))], english
        assert {hole[1] for hole in HOLE.finditer(answer)} == set(holes), answer
        assert "두 자릿수" not in answer


def test_the_file_is_in_order() -> None:
    text = (ROOT / "gpunet/study/ko.json").read_text("utf-8")
    pairs = json.loads(text, object_pairs_hook=list)
    assert len({key for key, _ in pairs}) == len(pairs)


# What the commands show

COMMANDS = (
    ("study", "momentum"),
    ("study", "units"),
    ("study", "corrections", "--noise", "0.5"),
    ("study", "rates"),
    ("study", "losses"),
    ("study", "curvature"),
    ("study", "optimizer", "adam"),
    ("study", "batchnorm"),
    ("landscape", "wells", "--noise", "0.5", "--optimizers", "sgd,cocob"),
    ("landscape", "--list"),
)
# Formulas, names of files and of settings, and what has a name in English only.
KEPT = re.compile(
    r"[\w.-]*[_/=^²*(][A-Za-z0-9_.(/=^*]*|\S+\.(?:png|svg|html|csv)|[A-Za-z]+\)|(?<![A-Za-z])(?:"
    "alpha|tilt|log|betas?|eps|grad|gamma|beta|dgamma|dbeta|sum|sqrt|cos|sin|exp|inf|d?mu|tanh|digits|"
    "gpunet|Home|End|JavaScript|nan|correction[12]|NAME|LOW|HIGH|seeds|lr-grid|value|compare|"
    "bowl|wells|inflection|bounded-saddle|saddle|plateau|beale|rosenbrock|rastrigin|sinc|abs"
    ")(?![A-Za-z])"
)


def english_left(text: str) -> list[str]:
    """Words of three letters or more that no reader of Korean wants."""
    found = re.findall(r"[A-Za-z]{3,}", KEPT.sub(" ", text))
    return [word for word in found if word not in NAMES]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: "-".join(c[:2]))
def test_no_english_is_left(command: tuple[str, ...], tmp_path: Path) -> None:
    group = cli.get_command(click.Context(cli), command[0])
    assert group is not None
    one = group.commands[command[1]] if command[0] == "study" else group  # type: ignore[attr-defined]
    out = ["--out", str(tmp_path)] if any(p.name == "out" for p in one.params) else []
    if any(p.name == "no_pictures" for p in one.params):
        out.append("--no-pictures")
    done = CliRunner().invoke(cli, ["--lang", "ko", *command, *out], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = done.output.replace(str(tmp_path), "").splitlines()
    shown = [line for line in lines if not line.startswith(("//", "m +=", "v =", "param -="))]
    assert english_left("\n".join(shown)) == []
    for page in tmp_path.glob("*.html"):
        assert english_left(plain(page)) == [], page.name
        assert '<html lang="ko">' in page.read_text("utf-8").replace("'", '"')


def plain(page: Path) -> str:
    """The words of a page, without styles, scripts and formulas."""
    text = page.read_text("utf-8")
    for tag in ("style", "script", "pre", "title", "code"):
        text = re.sub(rf"<{tag}\b.*?</{tag}>", " ", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))

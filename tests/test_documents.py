"""README.md, README.ko.md and docs/: links lead somewhere, what is named exists, code blocks run.

docs/testing.md is left to tests/simgpu/test_documents.py where its code is concerned.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.pictures import can_plot

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
TOP = ("README.md", "README.ko.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in TOP), *DOCS]
OPTIMIZER_PAGES = [ROOT / f"docs/optimizers/{name}.md" for name in gn.OPTIMIZERS]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
NAMED = re.compile(r"((?:`[\w.]+`(?:,| and)?\s+)+)in\s+\[[^\]]*\]\(([^)#\s]+\.py)\)")
FOLDERS = ("gpunet/", "kernels/", "examples/", "docs/", "tests/", "benchmarks/")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text("utf-8")) if kind == language]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    text = LINK.sub(r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@cache
def defined(path: Path) -> frozenset[str]:
    """Functions, classes, methods ("Class.method") and assigned names of a Python file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if hasattr(inner, "name")}
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
    return frozenset(found)


@each_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for _, target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target}: no such file"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
            assert anchor in map(slug, headings), f"{target}: no such heading"


@each_page
def test_files_named_in_the_text_exist(page: Path) -> None:
    spans = SPAN.findall(prose(page))
    for span in spans:
        path = span.split()[-1] if span.startswith(("python ", "gpunet ")) else span
        if path.startswith(FOLDERS) and not re.search(r"[A-Z]{3}|[*<>]", path):
            generated = path.startswith("benchmarks/results")
            assert generated or (ROOT / path).exists(), f"`{span}`: no such file"


@each_page
def test_functions_named_with_their_file_are_there(page: Path) -> None:
    for names, target in NAMED.findall(prose(page)):
        path = (page.parent / target).resolve()
        for name in SPAN.findall(names):
            assert name in defined(path), f"no {name} in {target}"


def test_every_backward_formula_names_its_function() -> None:
    text = prose(ROOT / "docs/backward.md")
    named = {n for names, _ in NAMED.findall(text) for n in SPAN.findall(names)}
    ops = {
        name
        for module in (gn.functional, gn.losses)
        for name, value in vars(module).items()
        if isinstance(value, gn.Op)
    }
    assert ops <= named


def test_the_tour_names_what_to_read_first() -> None:
    text = prose(ROOT / "docs/tour.md")
    rows = re.findall(r"^\| \[[^\]]*\]\(\.\./([^)]+)\) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) > 20
    for file, first in rows:
        assert SPAN.findall(first) or first == "the whole file"
        for name in SPAN.findall(first):
            assert name in defined(ROOT / file), f"no {name} in {file}"
    spans = {s for line in text.splitlines() if line[:1].isdigit() for s in SPAN.findall(line)}
    everything = frozenset().union(*(defined(p) for p in (ROOT / "gpunet").rglob("*.py")))
    assert {s for s in spans if "." in s} <= everything


@each_page
def test_names_of_the_package_exist(page: Path) -> None:
    for span in SPAN.findall(prose(page)):
        if match := re.match(r"gn((?:\.\w+)+)", span):
            value = gn
            for name in match[1].split(".")[1:]:
                value = getattr(value, name, None) or pytest.fail(f"`{span}`: no {name}")


@each_page
def test_cuda_blocks_are_the_files(page: Path) -> None:
    """A formula is written in one place: a block in the text is that file, word for word."""
    files = [p for folder in ("kernels", "examples") for p in (ROOT / folder).rglob("*.cu")]
    texts = {p.read_text("utf-8") for p in files}
    for block in blocks(page, "c"):
        assert block in texts, f"not the text of any .cu file:\n{block}"


EXTRAS = ("matplotlib", "onnx", "onnxruntime", "sklearn")
RUN = [page for page in PAGES if page.name != "testing.md" and blocks(page, "python")]


@pytest.mark.parametrize("page", RUN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in one namespace, which holds what the text says the reader has."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    gn.seed(0)
    rng = np.random.default_rng(0)
    space = {
        "x": rng.standard_normal((32, 64)).astype(np.float32),
        "t": rng.integers(0, 10, 32),
        "layer": gn.Affine(64, 64),
        "dy": np.ones((32, 64), np.float32),
    }
    for block in blocks(page, "python"):
        try:
            exec(compile(block, page.name, "exec"), space)
        except ModuleNotFoundError as missing:
            if missing.name not in EXTRAS:
                raise
            pytest.skip(f"{missing.name} is not installed")


# The two READMEs


def headings(page: Path) -> list[str]:
    return re.findall(r"^(#+) ", prose(page), re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of indented blocks, without their comments."""
    lines = re.findall(r"^    (\S.*)$", prose(page), re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def code(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks; comments of Python may be translated."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [(k, re.sub(r"[ ]+# .*", "", text) if k == "python" else text) for k, text in found]


def test_the_korean_readme_is_as_complete_as_the_english_one() -> None:
    english, korean = ROOT / "README.md", ROOT / "README.ko.md"
    assert headings(korean) == headings(english)
    assert commands(korean) == commands(english)
    assert code(korean) == code(english)
    spans = [set(SPAN.findall(prose(page))) for page in (english, korean)]
    assert spans[0] == spans[1]
    rows = [len(re.findall(r"^\|", prose(page), re.MULTILINE)) for page in (english, korean)]
    assert rows[0] == rows[1]


# The optimizers' pages


@pytest.mark.parametrize("page", OPTIMIZER_PAGES, ids=lambda p: p.stem)
def test_each_optimizer_has_its_page(page: Path) -> None:
    text = page.read_text("utf-8")
    source = gn.OPTIMIZERS[page.stem].kernel.source
    assert text.startswith(f"# {gn.OPTIMIZERS[page.stem].__name__}\n")
    assert blocks(page, "c") == [source.path.read_text("utf-8")]
    for heading in ("Where libraries differ", "When to use it", "On two landscapes"):
        assert f"\n## {heading}\n" in text
    state = re.search(r"^State: (.*)$", text, re.MULTILINE)[1]
    assert {slot.name for slot in source.outputs[1:]} == set(SPAN.findall(state)) - {
        *source.options,
        "lr",
        "momentum",
    }
    picture = ROOT / f"docs/images/landscape-{page.stem}.png"
    assert f"](../images/{picture.name})" in text
    assert picture.stat().st_size < 60_000


def test_the_table_of_rates_has_gpunets_defaults() -> None:
    text = (ROOT / "docs/optimizers/README.md").read_text("utf-8")
    rows = re.findall(
        r"^\| \[\w+\]\((\w+)\.md\) \| [\d.]+ \((?:lr )?([\w. ]+)\)", text, re.MULTILINE
    )
    assert [name for name, _ in rows] == list(gn.OPTIMIZERS)
    for name, rate in rows:
        assert rate == ("no rate" if name == "cocob" else f"{gn.OPTIMIZERS[name]().lr:g}")


def test_the_pictures_can_be_drawn_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_plot():
        pytest.skip("needs the plot extra: pip install 'gpunet[plot]'")
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs/make_pictures.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    assert set(module.PICTURES) <= set(gn.OPTIMIZERS)
    module.save(module.draw("rprop"), tmp_path / "rprop.png")
    assert (tmp_path / "rprop.png").stat().st_size < 60_000


def test_the_index_lists_every_document_and_example() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / target).resolve() for _, target in LINK.findall(prose(index))}
    examples = set((ROOT / "examples").glob("*.py"))
    documents = set((ROOT / "docs").glob("*.md")) - {index}
    assert examples | documents <= linked

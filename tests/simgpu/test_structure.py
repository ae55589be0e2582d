"""The simulated GPU's files import one way, and may be read in that order."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gpunet.testing import simgpu

FOLDER = Path(simgpu.__file__).parent
PACKAGE = "gpunet.testing.simgpu"


def imports_of(text: str, modules: set[str]) -> set[str]:
    """The modules beside it that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            inside = (node.module or "").removeprefix(PACKAGE).removeprefix(".").split(".")[0]
            if node.level == 1 or (node.module or "").startswith(PACKAGE):
                found.update([inside] if inside else names)
        elif isinstance(node, ast.Import):
            found.update(alias.name.removeprefix(f"{PACKAGE}.") for alias in node.names)
    return found & modules


def graph(texts: dict[str, str]) -> dict[str, set[str]]:
    return {name: imports_of(text, set(texts)) for name, text in texts.items()}


def texts() -> dict[str, str]:
    return {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.py")}


def test_imports_run_one_way() -> None:
    found = graph(texts())
    assert {"work", "errors"} <= found["stream"]
    order = list(TopologicalSorter(found).static_order())
    chain = ("errors", "work", "memory", "pool", "array", "creation", "indexing", "ufuncs")
    assert sorted(chain, key=order.index) == list(chain)


@pytest.mark.parametrize(
    "line",
    [
        "from . import stream",
        "def f():\n    from .stream import Stream",
        f"import {PACKAGE}.stream",
        f"from {PACKAGE}.stream import Stream",
        f"from {PACKAGE} import stream",
    ],
)
def test_a_circle_would_be_seen(line: str) -> None:
    changed = texts()
    changed["work"] += f"\n{line}\n"
    with pytest.raises(CycleError):
        TopologicalSorter(graph(changed)).prepare()

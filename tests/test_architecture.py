"""The rules of the file tree, read from the source: who imports whom, and how long things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.structure import Tree

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES, MOST_PARAMETERS = 400, 12
FRONT = ("gpunet.study", "gpunet.commands", "gpunet.cli")  # what shows things, on top of the core
TREE = Tree(ROOT)


def test_no_circle_of_imports() -> None:
    """Those in functions, those for type checkers and those hidden behind `Any` counted."""
    assert TREE.circles() == []


def test_production_imports_nothing_from_the_test_room() -> None:
    found = {
        (module, target)
        for module, target, _ in TREE.imports()
        if target.startswith("gpunet.testing") and not module.startswith("gpunet.testing")
    }
    assert found == set()


def test_the_core_imports_nothing_of_what_looks_at_it() -> None:
    """Only gpunet/__init__ names both: what it takes from study loads when it is used."""
    found = {
        (module, target)
        for module, target, _ in TREE.imports()
        if target.startswith(FRONT) and not module.startswith((*FRONT, "gpunet.__main__"))
    }
    assert {pair for pair in found if pair[0] != "gpunet"} == set()


def test_no_module_of_the_core_goes_through_the_front_door() -> None:
    """`import gpunet` is for users; inside, a module names the one that it needs."""
    found = {module for module, target, _ in TREE.imports() if target == "gpunet"}
    assert {m for m in found if not m.startswith(FRONT)} == set()


@pytest.mark.parametrize("folder", ["gpunet", "benchmarks", "examples", "docs"])
def test_no_file_is_long(folder: str) -> None:
    found = {
        file.relative_to(ROOT).as_posix(): count
        for file in (ROOT / folder).rglob("*.py")
        if (count := len(file.read_text("utf-8").splitlines())) > MOST_LINES
    }
    assert found == {}


def test_no_function_has_many_parameters() -> None:
    """Outside of testing/, where cuBLAS's own signatures are written down."""
    house = (f for f in TREE.functions() if not f.name.startswith("gpunet.testing."))
    assert {f.name: f.parameters for f in house if f.parameters > MOST_PARAMETERS} == {}


# The reader itself


def planted(root: Path, **files: str) -> Tree:
    for name, text in {"__init__": "", **files}.items():
        file = root / "house" / f"{name.replace('__of__', '/')}.py"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    return Tree(root, "house")


@pytest.mark.parametrize(
    ("back", "kind"),
    [
        ("from house import a", "eager"),
        ("from house.a import A", "eager"),
        ("from .a import A", "eager"),
        ("from . import a", "eager"),
        ("def f():\n    import house.a", "lazy"),
        ("f = lambda: import_module('house.a')", "lazy"),
        ("if TYPE_CHECKING:\n    from house.a import A", "typing"),
        ("A = Any  # of house.a", "any"),
    ],
)
def test_every_kind_of_circle_is_seen(back: str, kind: str, tmp_path: Path) -> None:
    tree = planted(tmp_path, a="import house.b\nclass A: ...", b="import house.c", c=back)
    assert tree.circles() == [["house.a", "house.b", "house.c"]]
    assert (tree.circles("eager") == []) == (kind != "eager")
    assert tree.circles("eager", kind) == tree.circles()


def test_a_stub_imports_too(tmp_path: Path) -> None:
    tree = planted(tmp_path, a="import house.b", b="")
    assert tree.circles() == []
    (tmp_path / "house/b.pyi").write_text("from house.a import f as f")
    assert tree.circles() == [["house.a", "house.b"]]


def test_a_way_that_does_not_come_back_is_no_circle(tmp_path: Path) -> None:
    files = {"a": "from house import b, c", "b": "from house.inner import d", "c": "import house.b"}
    tree = planted(tmp_path, **files, inner__of____init__="", inner__of__d="from .. import other")
    assert tree.circles() == []
    assert ("house.b", "house.inner.d", "eager") in set(tree.imports())


def test_functions_are_measured_without_docstring_and_self(tmp_path: Path) -> None:
    text = '''
class A:
    @property
    def f(self, a, /, b, *c, d, **e):
        """Two
        lines."""

        def inner(): ...
        return inner
'''
    outer, inner = planted(tmp_path, a=text).functions()
    assert (outer.name, outer.lines, outer.parameters) == ("house.a.A.f", 4, 5)
    assert (inner.name, inner.lines, inner.parameters) == ("house.a.A.f.inner", 1, 0)

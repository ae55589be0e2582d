"""What a checkout is made of, read from its source alone: modules, functions, and who imports whom.

An import is one of four kinds. "eager" runs when the module loads. "lazy" stands in a function, or
is a constant given to `import_module`. "typing" stands under `if TYPE_CHECKING` or in a stub
(.pyi). "any" is a class of the package that a module renamed `Any` so as not to import it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

KINDS = ("eager", "lazy", "typing", "any")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Edges = dict[str, set[str]]


@dataclass(frozen=True)
class Measured:
    """A function. lines: from `def` to its end without the docstring. parameters: without self."""

    name: str
    lines: int
    parameters: int


class Tree:
    """The Python package `package` of the checkout at `root`.

    modules: the file of each module, by its dotted name; a package is its __init__.py.
    """

    def __init__(self, root: Path, package: str = "gpunet") -> None:
        self.root, self.package = root, package
        files = sorted((root / package).rglob("*.py"))
        self.modules = {_dotted(file.relative_to(root)): file for file in files}

    @cached_property
    def homes(self) -> dict[str, str]:
        """The module of each class."""
        return {
            node.name: module
            for module, file in self.modules.items()
            for node in parse(file).body
            if isinstance(node, ast.ClassDef)
        }

    def imports(self) -> Iterator[tuple[str, str, str]]:
        """(module, what it imports, kind), within the package."""
        for module, file in self.modules.items():
            for kind, target in self._of_file(module, file):
                if target in self.modules and target != module:
                    yield module, target, kind

    def _of_file(self, module: str, file: Path) -> Iterator[tuple[str, str]]:
        for node, kind in _kinds(parse(file), "eager"):
            for target in self._targets(module, node):
                yield kind, target
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
                if node.value.id == "Any":
                    yield from (("any", self.homes[name]) for name in names if name in self.homes)
        stub = file.with_suffix(".pyi")
        if stub.exists():
            for node in ast.walk(parse(stub)):
                for target in self._targets(module, node):
                    yield "typing", target

    def _targets(self, module: str, node: ast.AST) -> Iterator[str]:
        """The modules that an import names; for `from a import b` a.b, if it is one, else a."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._base(module, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in self.modules else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (str(a.value) for a in node.args[:1] if isinstance(a, ast.Constant))

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        """What stands after `from`, spelled out where it is relative."""
        if not node.level:
            return node.module or ""
        inside = module.split(".")
        if self.modules[module].name != "__init__.py":
            inside = inside[:-1]
        inside = inside[: len(inside) - node.level + 1]
        return ".".join([*inside, *([node.module] if node.module else [])])

    def circles(self, *kinds: str) -> list[list[str]]:
        """Groups of modules that reach each other by imports of these kinds (default: all)."""
        edges: Edges = {module: set() for module in self.modules}
        for module, target, kind in self.imports():
            if kind in (kinds or KINDS):
                edges[module].add(target)
        return sorted(sorted(group) for group in strongly_connected(edges) if len(group) > 1)

    def functions(self) -> Iterator[Measured]:
        for module, file in self.modules.items():
            yield from measured(parse(file), f"{module}.")


@cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def _dotted(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _kinds(node: ast.AST, kind: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node below, with the kind that an import there has."""
    for child in ast.iter_child_nodes(node):
        inner = kind
        if isinstance(child, FUNCTIONS):
            inner = "lazy"
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            inner = "typing"
        yield child, inner
        yield from _kinds(child, inner)


def measured(node: ast.AST, prefix: str = "") -> Iterator[Measured]:
    """The functions below a node, those inside others too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            a = child.args
            named = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            own = [p for p in named if p.arg not in ("self", "cls")]
            yield Measured(prefix + child.name, _lines(child), len(own))
        inner = f"{prefix}{child.name}." if isinstance(child, (Function, ast.ClassDef)) else prefix
        yield from measured(child, inner)


def _lines(function: Function) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def strongly_connected(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Each node in one set with all that it reaches and that reach it (Kosaraju 1978)."""
    back: Edges = {node: set() for node in edges}
    for node, targets in edges.items():
        for target in targets:
            back[target].add(node)
    seen: set[str] = set()
    finished = list(chain.from_iterable(_walk(node, edges, seen) for node in edges))
    seen = set()
    groups = [set(_walk(node, back, seen)) for node in reversed(finished)]
    return [group for group in groups if group]


def _walk(start: str, edges: Mapping[str, set[str]], seen: set[str]) -> list[str]:
    """What `start` reaches and nothing before it did, each after all that it leads to."""
    if start in seen:
        return []
    seen.add(start)
    found: list[str] = []
    for target in sorted(edges[start]):
        found += _walk(target, edges, seen)
    return [*found, start]

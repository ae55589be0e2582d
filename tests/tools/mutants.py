"""Which tests see a wrong formula: plants one mistake after the other into a copy of the tree.

    python -m tests.tools.mutants tests/optim                      every mutant, these tests
    python -m tests.tools.mutants tests/optim -k adam -k clipped   those whose name holds a word
    python -m tests.tools.mutants --list                           what there is

A mutant makes what a statement computes larger by a thousandth: the last one that writes a result
of a .cu file of CUDA, of a function in a .cuh file, of a function of PYTHON; with --all each.
Exit status 1 if a mutant is seen by no test, 2 if tests fail without one.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
CUDA = ("kernels/*.cuh", "kernels/optim/*.cu", "kernels/optim/*.cuh", "kernels/nn/*.cu*")
PYTHON = {  # functions by name, in files
    "gpunet/optim/*.py": ("reference", "derived"),
    "gpunet/optim/kernel.py": ("clipped", "decayed", "norm_of"),
    "gpunet/fused/on_numpy.py": (
        *("bias_act", "bias_act_backward", "batch_norm", "batch_norm_backward", "softmax_loss"),
        *("norm_act", "score", "add_dot"),
    ),
    "gpunet/fused/passes.py": (
        *("biased", "squares", "normalised", "scaled", "products", "combined", "shifted", "pulled"),
        *("activated", "activated_backward"),
        *("_mask", "_sigmoid", "_sigmoid_slope", "_tanh", "_tanh_slope"),
    ),
    "gpunet/functional.py": (
        *("affine", "batch_norm", "dropout", "softmax", "log_softmax", "_dropout_reference"),
    ),
    "gpunet/activations.py": (
        *("TABLE", "value", "backward", "_logistic", "_gelu_gate", "_gelu_tanh_gate"),
    ),
    "gpunet/embedding.py": ("embedding", "_sums"),
    "gpunet/normal.py": ("normal_cdf", "_tail", "_nodes"),
    "gpunet/losses.py": (
        *("softmax_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber"),
        *("kl_divergence", "sigmoid_cross_entropy", "_differences", "_mean_backward", "_mean"),
    ),
    "gpunet/weights.py": ("of_data", "rows_of", "of_batch", "counted"),
}
OUT = re.compile(r"^//\s*out:\s*(.*)$", re.MULTILINE)
POST = re.compile(r"^//\s*post:\s*\w+ = (.*)$", re.MULTILINE)
RETURN = re.compile(r"^\s*return ([^;]+);", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """A file of the tree whose text from `start` to `stop` becomes `new`."""

    name: str
    file: str
    start: int
    stop: int
    new: str

    def plant(self, tree: Path) -> None:
        text = (ROOT / self.file).read_text("utf-8")
        (tree / self.file).write_text(text[: self.start] + self.new + text[self.stop :], "utf-8")

    def take_out(self, tree: Path) -> None:
        shutil.copy(ROOT / self.file, tree / self.file)

    def __str__(self) -> str:
        line = (ROOT / self.file).read_text("utf-8").count("\n", 0, self.start) + 1
        return f"{self.name} ({self.file}:{line})"


# Where mistakes are planted: the places of what is computed, in the order of the file


def in_cuda(text: str) -> list[tuple[int, int]]:
    """What a kernel's statements write to its outputs; what device functions return."""
    places = [match.span(1) for match in (POST.search(text), *RETURN.finditer(text)) if match]
    header = OUT.search(text)
    items = header[1].split(",") if header and not POST.search(text) else []
    computed = [item for item in items if "int64" not in item]  # no counters beside it
    for item in computed or items:
        name = item.split()[-1]
        written = rf"^[^/\n]*?\b{name}(?:\[[^=\n]*\])? [-+]?= ([^;]+);"
        places += [match.span(1) for match in re.finditer(written, text, re.MULTILINE)]
    return sorted(places)


def in_python(text: str, function: str) -> list[tuple[int, int]]:
    """What a function's statements assign, return or write to `out=`."""
    begins = [0]
    for line in text.splitlines(keepends=True):
        begins.append(begins[-1] + len(line))

    def span(node: ast.expr) -> tuple[int, int]:
        first, last = begins[node.lineno - 1], begins[(node.end_lineno or node.lineno) - 1]
        return first + node.col_offset, last + (node.end_col_offset or 0)

    found = _named(ast.parse(text), function)
    return sorted(span(value) for node in found for value in _values(node))


def _named(tree: ast.Module, name: str) -> Iterator[ast.AST]:
    """Functions of that name, and lambdas in what is assigned to it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and _target(node) == name:
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Lambda))


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _values(function: ast.AST) -> Iterator[ast.expr]:
    if isinstance(function, ast.Lambda):
        yield function.body
        return
    for node in ast.walk(function):
        value = node.value if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return)) else None
        if isinstance(value, ast.IfExp) and isinstance(value.body, ast.Dict):
            value = value.body
        if isinstance(value, ast.Dict):
            yield value.values[-1]
        elif value is not None:
            yield value
        elif isinstance(node, ast.Call) and any(k.arg == "out" for k in node.keywords):
            yield node.args[0]


def mutants(each: bool = False) -> list[Mutant]:
    """One for each formula; each: for each of its statements."""
    found = []
    for pattern in CUDA:
        for file in sorted(ROOT.glob(pattern)):
            text = file.read_text("utf-8")
            one = "1.001" if POST.search(text) else "T(1.001)"
            more = each or file.suffix == ".cuh"
            found += _of(file, f"cuda {file.stem}", in_cuda(text), one, more)
    for pattern, functions in PYTHON.items():
        for file in sorted(ROOT.glob(pattern)):
            for function in functions:
                places = in_python(file.read_text("utf-8"), function)
                more = each or function == "TABLE"  # each row is a formula
                found += _of(file, f"numpy {file.stem} {function}", places, "1.001", more)
    return found


def _of(
    file: Path, name: str, places: Sequence[tuple[int, int]], one: str, each: bool
) -> list[Mutant]:
    text, where = file.read_text("utf-8"), file.relative_to(ROOT).as_posix()
    return [
        Mutant(name, where, *place, f"{one} * ({text[slice(*place)]})")
        for place in (places if each else places[-1:])
    ]


# Runs


def copy_to(tree: Path) -> None:
    """What git knows, and what is new."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)


def failing(tree: Path, tests: Sequence[str]) -> list[str]:
    """The tests that fail in `tree`, or cannot even be collected."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, f"--junitxml={report}", *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-1000:])
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in ElementTree.parse(report).iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]


def by_file(names: Sequence[str]) -> str:
    """`test_golden 3, test_cuda_text 12`."""
    files = [name.split("::")[0].rsplit(".", 1)[-1] for name in names]
    return ", ".join(f"{file} {files.count(file)}" for file in dict.fromkeys(files))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.mutants")
    parser.add_argument("tests", nargs="*", help="files or folders, as pytest takes them")
    parser.add_argument("-k", action="append", default=[], metavar="WORD")
    parser.add_argument("--all", action="store_true", help="every statement, not the last alone")
    parser.add_argument("--list", action="store_true", help="show the mutants and stop")
    options = parser.parse_args(arguments)
    chosen = mutants(options.all)
    if options.k:
        chosen = [m for m in chosen if any(word in m.name.split() for word in options.k)]
    if options.list:
        print(*chosen, sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_to(tree)
        if wrong := failing(tree, options.tests):
            print("These fail without a mutant:", *wrong, sep="\n")
            return 2
        unseen = []
        for mutant in chosen:
            start = time.perf_counter()
            mutant.plant(tree)
            seen = failing(tree, options.tests)
            mutant.take_out(tree)
            print(f"{mutant}: {by_file(seen) or 'NOT SEEN'}", end=" ")
            print(f"[{time.perf_counter() - start:.0f} s]", flush=True)
            unseen += [] if seen else [mutant]
    print(f"{len(chosen)} mutants, {len(unseen)} seen by no test")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())

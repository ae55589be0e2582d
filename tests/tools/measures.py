"""The size and shape of one checkout, or of several side by side, as a table in Markdown.

    python tests/tools/measures.py [--cases] CHECKOUT [CHECKOUT ...]

--cases also collects the tests, which needs what they import. Run it with a Python in which pytest
collects them: the checkout's own gpunet comes first on its path.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.tools.structure import Measured, Tree

LIMIT = 400  # lines of a file


def lines(files: Iterable[Path]) -> int:
    return sum(len(file.read_text("utf-8").splitlines()) for file in files)


def python(root: Path, *folders: str, without: tuple[str, ...] = ()) -> list[Path]:
    """The .py files of some folders, those of others left out."""
    left_out = [root / name for name in without]
    found = (file for folder in folders for file in (root / folder).rglob("*.py"))
    return [f for f in found if not any(f.is_relative_to(folder) for folder in left_out)]


def long_files(root: Path, *folders: str) -> str:
    sized = [(lines([file]), file.relative_to(root)) for file in python(root, *folders)]
    long = sorted((pair for pair in sized if pair[0] > LIMIT), reverse=True)
    return f"{len(long)}" + "".join(f", {path} {count}" for count, path in long[:3])


def production(root: Path) -> list[Measured]:
    return [f for f in Tree(root).functions() if not f.name.startswith("gpunet.testing.")]


def named(function: Measured, value: int) -> str:
    return f"{value} ({function.name.removeprefix('gpunet.')})"


def longest(root: Path) -> str:
    function = max(production(root), key=lambda f: f.lines)
    return named(function, function.lines)


def widest(root: Path) -> str:
    function = max(production(root), key=lambda f: f.parameters)
    return named(function, function.parameters)


def circles(root: Path, *kinds: str) -> str:
    found = Tree(root).circles(*kinds)
    return f"{len(found)}" + "".join(
        f"; {' '.join(m.removeprefix('gpunet.') for m in circle[:8])}"
        + (f" and {len(circle) - 8} more" if len(circle) > 8 else "")
        for circle in found
    )


def imports_of_testing(root: Path) -> str:
    pairs = {
        module
        for module, target, _ in Tree(root).imports()
        if target.startswith("gpunet.testing") and not module.startswith("gpunet.testing")
    }
    return f"{len(pairs)}" + "".join(f", {module}" for module in sorted(pairs))


def cases(root: Path) -> str:
    """As pytest counts them; what stops it where it cannot."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    per_file = re.findall(r"^\S+\.py: (\d+)$", done.stdout, re.MULTILINE)
    total = re.search(r"(\d+) tests? collected", done.stdout)
    errors = f", {done.stdout.count('ERROR ')} errors" if "ERROR " in done.stdout else ""
    listed = sum("::" in line for line in done.stdout.splitlines())
    return f"{total[1] if total else sum(map(int, per_file)) or listed:,}{errors}"


MEASURES: dict[str, Callable[[Path], object]] = {
    "lines of gpunet/, Python, without testing and study": lambda root: lines(
        python(root, "gpunet", without=("gpunet/testing", "gpunet/study"))
    ),
    "lines of study/": lambda root: lines(python(root, "gpunet/study")),
    "lines of optim/": lambda root: lines(python(root, "gpunet/optim")),
    "lines of fused/": lambda root: lines(python(root, "gpunet/fused")),
    "lines of testing/, headers too": lambda root: lines(
        f for f in (root / "gpunet/testing").rglob("*") if f.suffix in (".py", ".h", ".cpp", ".inc")
    ),
    "lines of kernels/": lambda root: lines((root / "kernels").rglob("*.cu*")),
    "lines of benchmarks/": lambda root: lines(python(root, "benchmarks")),
    "lines of tests/": lambda root: lines(python(root, "tests")),
    f"files above {LIMIT} lines in gpunet/ and benchmarks/": lambda root: long_files(
        root, "gpunet", "benchmarks"
    ),
    f"files above {LIMIT} lines in tests/": lambda root: long_files(root, "tests"),
    "functions, median of lines": lambda root: (
        f"{len(production(root)):,}, {statistics.median(f.lines for f in production(root)):g}"
    ),
    "longest function": longest,
    "most parameters": widest,
    "import circles, eager": lambda root: circles(root, "eager"),
    "import circles, eager and lazy": lambda root: circles(root, "eager", "lazy"),
    "import circles, with those for type checkers and behind Any": circles,
    "production modules that import gpunet.testing": imports_of_testing,
}


def table(roots: list[Path], measures: dict[str, Callable[[Path], object]]) -> str:
    rows = [["", *(root.resolve().name for root in roots)], ["---"] * (len(roots) + 1)]
    for name, measure in measures.items():
        values = [measure(root) for root in roots]
        rows.append([name, *(f"{v:,}" if isinstance(v, int) else str(v) for v in values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--cases", action="store_true", help="collect the tests, too")
    options = parser.parse_args()
    measures = MEASURES | ({"test cases": cases} if options.cases else {})
    print(table([root.resolve() for root in options.checkouts], measures))


if __name__ == "__main__":
    main()

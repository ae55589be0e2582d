"""The README's table of GPU results, made from benchmarks/results/*.json and from nothing else.

python -m benchmarks.tables            rewrite README.md between the two marks
python -m benchmarks.tables --check    exit status 1 if that would change it
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts import ADAM, EAGER
from benchmarks.verify_gpu import COMPILING, RESULTS, ROOT
from gpunet.files import write_atomically

BEGIN, END = "<!-- gpu-results:begin -->", "<!-- gpu-results:end -->"
NONE = "not yet run on a GPU"
COLUMNS = (
    *("device", "commit", "date", "passed", "failed", "skipped", "CUDA", "CuPy"),
    *("Adam step", "of copy bandwidth", "784-100-10 step", "first use of all kernels"),
)


def results(folder: Path) -> list[dict[str, Any]]:
    """The runs on real GPUs, oldest first. ValueError naming a file that is none of ours."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            one = json.loads(file.read_bytes())
            row(one)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}: no record of verify_gpu: {error!r}") from error
        if one["device"] != "simulated":
            found.append(one)
    return sorted(found, key=lambda one: one["date"])


def row(one: dict[str, Any]) -> list[str]:
    """One run, as COLUMNS names it; "-" for what was not measured."""
    adam, step, first = (one["timings"].get(what) for what in (ADAM, EAGER, COMPILING))
    changed = {True: ", with changes", False: "", None: ""}[one["dirty"]]
    version = one["cuda_runtime"]
    return [
        one["device"],
        one["commit"][:10] + changed,
        one["date"][:10],
        *(str(one[count]) for count in ("passed", "failed", "skipped")),
        f"{version // 1000}.{version % 1000 // 10}",
        one["cupy"],
        f"{adam['median_s'] * 1e3:.3g} ms for {adam['elements']:.0e}" if adam else "-",
        f"{adam['share_of_copy']:.0%}" if adam else "-",
        f"{step['median_s'] * 1e6:.0f} us" if step else "-",
        f"{first['cold_s']:.1f} s" if first else "-",
    ]


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown, a line for each run."""
    if not found:
        return NONE
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(row, found)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def rewritten(text: str, content: str) -> str:
    """`text` with `content` between the marks. ValueError unless each mark is there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"expected {BEGIN} and then {END}, once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if it would differ")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    before = options.readme.read_text("utf-8")
    after = rewritten(before, table(results(options.results)))
    if before == after:
        return 0
    if options.check:
        print(f"{options.readme} differs from its results: python -m benchmarks.tables rewrites it")
        return 1
    write_atomically(options.readme, after.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())

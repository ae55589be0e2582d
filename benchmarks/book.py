"""The programs of *Deep Learning from Scratch* with its own `common` and with gpunet.book.

    python -m benchmarks.book path/to/deep-learning-from-scratch [--only NAME,...]

For gpunet the lines `from common.NAME import ...` become `from gpunet.book.NAME import ...`, and
nothing else changes. Each program runs as a process of its own, after np.random.seed. The record,
under benchmarks/results/book/, has how far the two runs of a program differ in whatever it keeps.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "book"
MODULES = sorted(p.stem for p in (Path(__file__).parents[1] / "gpunet" / "book").glob("*.py"))
IMPORT = re.compile(rf"^from common\.({'|'.join(MODULES)}) import", re.MULTILINE)
FIRST = 400  # iterations whose losses are compared on their own
WAYS = ("book", "gpunet")
KEPT = {
    "ch04/train_neuralnet": "train_loss_list train_acc_list test_acc_list",
    "ch05/train_neuralnet": "train_loss_list train_acc_list test_acc_list",
    "ch06/optimizer_compare_naive": "x_history y_history",
    "ch06/optimizer_compare_mnist": "train_loss",
    "ch06/weight_init_compare": "train_loss",
    "ch06/batch_norm_test": "printed",
    "ch06/overfit_weight_decay": "train_acc_list test_acc_list",
    "ch06/overfit_dropout": "train_acc_list test_acc_list",
}
SEEDS = {"ch06/overfit_dropout": (0, 1, 2)}  # where the two draw other masks; else 0
PROGRAM = """
import json, re, runpy, sys
from contextlib import redirect_stdout
from io import StringIO
import matplotlib
import numpy as np
matplotlib.use("Agg")
np.random.seed(int(sys.argv[2]))
with redirect_stdout(StringIO()) as out:
    found = runpy.run_path(sys.argv[1])
found["printed"] = [float(n) for n in re.findall(r"(?<=[|-] )[0-9.]+", out.getvalue())]
found = {name: found[name] for name in sys.argv[3].split()}
print(json.dumps(found, default=float))
"""


def with_gpunets_imports(text: str) -> str:
    return IMPORT.sub(r"from gpunet.book.\1 import", text)


def copied(book: Path, target: Path) -> None:
    """The book's programs at `target`, with gpunet's import lines."""
    shutil.copytree(book, target, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    for file in target.glob("ch0[456]/*.py"):
        file.write_text(with_gpunets_imports(file.read_text("utf-8")), "utf-8")


def run(folder: Path, program: str, seed: int) -> dict[str, Any]:
    """What the program keeps."""
    path = folder / f"{program}.py"
    command = [sys.executable, "-c", PROGRAM, path.name, str(seed), KEPT[program]]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{path}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def lists(found: Any, name: str = "") -> dict[str, list[float]]:
    """The lists in it by dotted name."""
    if isinstance(found, list):
        return {name: found}
    inner = [lists(value, f"{name}.{key}".strip(".")) for key, value in found.items()]
    return {key: value for one in inner for key, value in one.items()}


def compared(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    apart = np.abs(np.array(ours) - np.array(theirs))
    return {
        "numbers": len(apart),
        f"apart_first_{FIRST}": float(apart[:FIRST].max()),
        "apart": float(apart.max()),
        "last": {"book": theirs[-1], "gpunet": ours[-1]},
        "mean": {"book": float(np.mean(theirs)), "gpunet": float(np.mean(ours))},
    }


def measure(book: Path, programs: list[str]) -> Iterator[dict[str, Any]]:
    """After each program what was found so far: {program: {seed: {list: how the two differ}}}."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {"book": book, "gpunet": Path(temporary) / "book"}
        copied(book, folders["gpunet"])
        for program in programs:
            for seed in SEEDS.get(program, (0,)):
                theirs, ours = (lists(run(folders[way], program, seed)) for way in WAYS)
                one = {name: compared(ours[name], theirs[name]) for name in theirs}
                found.setdefault(program, {})[str(seed)] = one
                apart = max(c["apart"] for c in one.values())
                print(f"{program}, seed {seed}: at most {apart:.2g} apart", flush=True)
            yield found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.book")
    parser.add_argument("book", type=Path, help="the book's repository, with a data set in it")
    parser.add_argument("--only", default=",".join(KEPT))
    parser.add_argument("--data", default="", help="what dataset/ holds, for the record")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()

    from benchmarks import machine, records

    header = records.header("cpu", machine.device_name("cpu")) | {"data": asked.data}
    for found in measure(asked.book, asked.only.split(",")):
        file = records.write(asked.out, header | {"programs": found})
    print(file)


if __name__ == "__main__":
    main()

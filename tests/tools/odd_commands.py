"""Odd command lines: `python -m tests.tools.odd_commands --count 400`.

Each runs in a child process, in a folder with odd files, and has to end by itself: with results and
status 0, or with one line on stderr and status 2.
"""

# ruff: noqa: E501

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gpunet as gn
from gpunet.commands import studies
from gpunet.data import load
from gpunet.study import pictures

NUMBERS = [
    "0", "1", "2", "-1", "1.5", "nan", "inf", "1e400", "1e-400", "", " ", "٣", "1_0", "0x10", "1e3",
    "99999999999999999999", "18446744073709551615", "--", "-", "é", "\udcc7\udcd0", "$(x)", "1,2",
    "0,0", ",", ",,", "1,", "3:1", ":", "1e-3:1", "a=1", "sgd=", "sgd=1", "=1", "1e308", "%s", "\n",
]  # fmt: skip
DATA = [
    "digits", "./digits", "good.csv", "good.npz", "학습.csv", "\udcc7\udcd0.csv", "a$b^{c$.csv", "x\ny.csv",
    "empty.csv", "gone.csv", "one.csv", "bytes.csv", "nan.csv", "device.csv", "pipe.csv", "folder.csv",
    "closed.npz", "text.txt", "folder", "", ".", "/", "/dev/zero", "/dev/null", "numbers.csv", "wide.csv",
    "a" * 300, "\x1b[31m.csv", "objects.npz", "image.npz", "label.csv", "many.csv",
]  # fmt: skip
OUTS = [
    "out",
    "학습",
    "\udcc7",
    "a$b",
    "good.csv",
    "good.csv/x",
    "/dev/null",
    "/dev/full/x",
    "",
    ".",
    "out/b",
]
NAMES = [
    "adam",
    "sgd",
    "ADAM",
    "all",
    "adm",
    "",
    ",",
    "sgd,adam",
    "sgd,,",
    "cocob",
    "adam,none",
    "lion ",
]
STUDIES = ["batchnorm", *(command.name or "" for command in studies.COMMANDS)]
OPTIONS: dict[str, dict[str, list[str]]] = {
    "train": {
        "--epochs": ["1", "1", "2", *NUMBERS], "--hidden": ["4", "4,3", "", *NUMBERS], "--lr": NUMBERS,
        "--batch-size": NUMBERS, "--seed": NUMBERS, "--dropout": NUMBERS, "--optimizer": NAMES,
        "--target": ["auto", "class", "number", "x"], "--out": OUTS, "--batch-norm": [],
        "--device": ["cpu", "cuda", "auto", "tpu"], "--label": ["a", "0", "1", "-1", "zzz", ""],
        "--activation": ["gelu", "relu", *NAMES], "--schedule": ["cosine", "warmup+step:1", *NUMBERS, *NAMES],
        "--weight-decay": NUMBERS, "--clip-norm": NUMBERS, "--class-weights": ["balanced", "0=2", *NUMBERS],
        "--patience": NUMBERS, "--valid-share": ["0.3", "0", *NUMBERS], "--test": ["good.csv", *DATA],
        "--config": ["config.toml", *DATA, *OUTS], "--checkpoint-every": ["1", "1s", *NUMBERS], "--resume": [],
    },
    "predict": {"--out": OUTS, "--proba": [], "--device": ["cpu", "x"]},
    "evaluate": {"--device": ["cpu", "auto", "x"]}, "show": {"--help": []},
    "compare": {
        "--epochs": ["1", *NUMBERS], "--hidden": ["3", *NUMBERS], "--seeds": ["1", *NUMBERS[:8]],
        "--optimizers": ["sgd", "cocob", *NAMES], "--lr-grid": NUMBERS, "--jobs": ["1", "0", "x"],
        "--target": NUMBERS, "--out": OUTS, "--batch-size": NUMBERS,
    },
    "landscape": {
        "--optimizers": ["newton", "sgd,lbfgs", *NAMES], "--lr": NUMBERS, "--steps": ["1", "3", *NUMBERS],
        "--start": NUMBERS, "--out": OUTS, "--no-pictures": [], "--list": [], "--noise": NUMBERS,
    },
    "study": {
        "--rows": NUMBERS, "--features": NUMBERS, "--seed": NUMBERS, "--out": OUTS, "--gradients": NUMBERS,
        "--lr": NUMBERS, "--set": NUMBERS, "--param": NUMBERS, "--alphas": NUMBERS, "--sizes": NUMBERS,
        "--on": ["bowl", "wells", *NAMES], "--optimizers": NAMES, "--betas": NUMBERS, "--noise": NUMBERS,
        "--conditions": NUMBERS, "--no-pictures": [],
    },
    "info": {"--json": ["x"], "--help": []},
    "bench": {
        "--rounds": ["1", *NUMBERS], "--device": ["cpu", "x"], "--json": OUTS, "--data": DATA,
        "--features": NUMBERS, "--hidden": NUMBERS, "--classes": NUMBERS, "--batch-norm": [],
        "--dropout": NUMBERS, "--optimizer": NAMES, "--batch-size": NUMBERS, "--activation": NAMES,
    },
    "export": {"--softmax": []},
}  # fmt: skip
FIRST = {
    "train": DATA, "compare": DATA, "landscape": ["bowl", "valley", "", "bwl", "é", "\udcc7"],
    "study": [*STUDIES, *STUDIES, "x", ""], "info": ["", "x"], "bench": ["W5", "w5", "W9", "é"],
    "export": ["model.safetensors", *DATA],
    **{name: ["model.safetensors", "model.safetensors", *DATA, *OUTS] for name in ("predict", "evaluate", "show")},
}  # fmt: skip
# What an odd value must not make long. Later ones win; an odd value is put after them.
SHORT = {"train": ["--epochs", "1", "--hidden", "4"], "bench": ["--rounds", "1"]}
SHORT["compare"] = [*SHORT["train"], "--optimizers", "sgd", "--seeds", "1", "--lr-grid", "0.1"]


class Ended(NamedTuple):
    """How a command ended; wrong is what should not be, or nothing."""

    words: list[str]
    status: int
    errors: str
    wrong: str


def prepare(folder: Path) -> None:
    """The odd files."""
    rng = np.random.default_rng(0)
    rows = "".join(
        f"{a:.3f},{b:.3f},{k % 2}\n" for k, (a, b) in enumerate(rng.normal(size=(40, 2)))
    )
    text = {
        "good.csv": "a,b,label\n" + rows, "학습.csv": "a,b,label\n" + rows, "a$b^{c$.csv": "가,b,label\n" + rows,
        "x\ny.csv": rows, "\x1b[31m.csv": rows, "empty.csv": "", "one.csv": "1\n2\n", "nan.csv": "a,b\n1,nan\n",
        "text.txt": rows, "numbers.csv": "a,b\n" + "".join(f"{k},{k / 3}\n" for k in range(40)),
        "wide.csv": ",".join(["1"] * 5000) + "\n", "label.csv": "label,target\n1,2\n",
        "many.csv": "a,b\n" + "".join(f"{k},name{k}\n" for k in range(50)),
    }  # fmt: skip
    for name, content in text.items():
        (folder / name).write_text(content, "utf-8")
    (folder / os.fsdecode(b"\xc7\xd0.csv")).write_text(rows)
    (folder / "bytes.csv").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()
    (folder / "folder.csv").mkdir()
    (folder / "device.csv").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.csv")
    np.savez(folder / "good.npz", x=rng.normal(size=(40, 3)), t=np.arange(40) % 3)
    np.savez(
        folder / "image.npz",
        x=rng.integers(0, 255, (40, 4, 4), dtype=np.uint8),
        t=np.arange(40) % 3,
    )
    np.savez(folder / "objects.npz", x=np.array([{}] * 3, object), t=np.arange(3))
    data = load(folder / "good.csv")
    gn.Predictor(gn.MLP([2, 3, 2]), data).save(folder / "model.safetensors")
    (folder / "config.toml").write_text("epochs = 1\nhidden = [3]\n")
    (folder / "closed.npz").write_bytes((folder / "good.npz").read_bytes()[:-30])


def odd(draw: random.Random) -> list[str]:
    """A command line."""
    command = draw.choice(["train"] * 5 + ["compare"] * 2 + list(OPTIONS))
    words = [command, draw.choice(FIRST[command]), *SHORT.get(command, [])]
    if draw.random() < 0.6 and command in ("train", "compare"):
        words[1] = draw.choice(["digits", "good.csv", "good.npz", "학습.csv"])
    for name in draw.sample(
        list(OPTIONS[command]), min(draw.choice([1, 1, 2, 3]), len(OPTIONS[command]))
    ):
        values = OPTIONS[command][name]
        words += (
            [name, draw.choice(values[: 2 if draw.random() < 0.4 else None])] if values else [name]
        )
    if command in ("predict", "evaluate"):
        words.append(draw.choice(["good.csv", "학습.csv", *DATA, "-"]))
    if command == "export":
        words.append(draw.choice(["m.onnx", "m.txt", "folder", ""]))
    if draw.random() < 0.05:
        words.append(draw.choice(["extra", "--colour", "-x", "--help", "--epochs"]))
    return words


@contextlib.contextmanager
def _child(work: Callable[[], None], errors: Path) -> Iterator[int]:
    """The status with which a fork that does the work ends."""
    child = os.fork()
    if child == 0:
        status = 70
        with contextlib.suppress(BaseException):
            for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY)):
                os.dup2(os.open(os.devnull, mode), number)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(k, "w")) for k in (1, 2))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            signal.alarm(120)
            try:
                work()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stderr.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    yield os.waitstatus_to_exitcode(status)


def run(words: list[str], folder: Path) -> Ended:
    """One of them, in the folder."""
    from gpunet import cli

    def work() -> None:
        os.chdir(folder)
        sys.argv = ["gpunet", *words]
        cli.main()

    errors = folder / ".errors"
    with _child(work, errors) as status:
        said = errors.read_text("utf-8", "replace")
    wrong = ""
    if "Traceback" in said:
        wrong = "a traceback"
    elif status not in (0, 2):
        wrong = f"status {status}"
    elif status == 2 and not (said.startswith("gpunet: ") and said.count("\n") == 1):
        wrong = "not one line"
    elif status == 0 and not all(line.startswith("gpunet: ") for line in said.splitlines()):
        wrong = "said something"
    elif "\x1b" in said:
        wrong = "moves the cursor"
    return Ended(words, status, said, wrong)


def trials(count: int, seed: int = 0) -> list[Ended]:
    """So many odd commands, each in the folder that those before it have left."""
    pictures.can_plot()  # loads matplotlib here, once for all children
    draw, found = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for _ in range(count):
            found.append(run(odd(draw), folder))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = trials(given.count, given.seed)
    ways = Counter(one.wrong or ("one line" if one.status else "results") for one in found)
    print(f"{len(found)} command lines: {dict(ways)}")
    for one in found:
        if one.wrong:
            print(f"{one.wrong}: {one.words!r}: {one.errors[-600:]!r}")
    sys.exit(any(one.wrong for one in found))


if __name__ == "__main__":
    main()

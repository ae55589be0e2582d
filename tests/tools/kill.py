"""Trainings killed by kill -9 at random moments, and gone on with: do they end as if never stopped?

    nice python -m tests.tools.kill --moments 200

Each training is run to its end once. Then it is begun anew, killed at a random moment, begun again
with the same program, killed again, and so on, and at last left to run to its end. Parameters,
running statistics, optimizer state, Dropout's counters, history (but for the seconds), the
generator and the model's file must be the same to the last bit. A checkpoint is written every few
milliseconds, so that many kills hit one that is being written.

Every optimizer trains once at least, with BatchNorm, Dropout, accumulation, a schedule, early
stopping and class weights in turns; some on the simulated GPU, captured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpunet as gn
from gpunet import rng
from gpunet.backend import to_host

ROOT = Path(__file__).resolve().parents[2]
CAPTURED = ("sgd", "momentum", "adam", "lion")  # on the simulated GPU too
RESULT = "result.json"


class Best(gn.Callback):
    """A callback with a state: a running mean of the training losses, as a column of its own."""

    def on_start(self, trainer: Any) -> None:
        self.losses: list[float] = []

    def on_epoch(self, trainer: Any, row: dict[str, Any]) -> None:
        self.losses.append(row["train_loss"])
        row["mean"] = float(np.mean(self.losses))

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses = state["losses"]


def trainer_of(name: str, device: str, folder: Path) -> tuple[gn.Trainer, dict[str, Any]]:
    """The training of an optimizer, and the settings of its fit."""
    kind, turn = gn.OPTIMIZERS[name], list(gn.OPTIMIZERS).index(name)
    gn.seed(turn)
    dropout = 0.3 if turn % 3 != 2 else 0.0
    model = gn.MLP([8, 24, 16, 4], batch_norm=turn % 2 == 0, dropout=dropout).to(device)
    settings: dict[str, Any] = {"weight_decay": 1e-4, "clip_norm": 1.0 if turn % 4 == 1 else None}
    if kind.has_lr and turn % 2 == 1:
        settings["lr"] = gn.schedules.warmup(gn.schedules.cosine(kind().lr * 2, 300), 20)
    weights = [1.0, 2.0, 0.5, 1.0] if turn % 5 == 3 and device == "cpu" else None
    stopping = gn.EarlyStopping(patience=2 + turn % 4, min_delta=0.01)
    callbacks = [stopping, Best(), gn.Checkpoint(folder / "checkpoint", every=0.004)]
    loss = gn.SoftmaxWithLoss(class_weights=weights)
    trainer = gn.Trainer(model, loss, kind(model.parameters(), **settings), callbacks)
    epochs = 12 if device == "cpu" else 4
    return trainer, {"epochs": epochs, "batch_size": 8, "accumulate": 1 + turn % 3}


def train(name: str, device: str, folder: Path) -> None:
    """Begin the training in a folder, or go on with it; what it came to goes to RESULT."""
    draw = np.random.default_rng(5)
    x, t = draw.normal(size=(600, 8)).astype(np.float32), draw.integers(0, 4, 600)
    x[np.arange(600), t] += 1
    trainer, fit = trainer_of(name, device, folder)
    if (folder / "checkpoint").exists():
        trainer.load(folder / "checkpoint")
    trainer.fit((x[:480], t[:480]), (x[480:], t[480:]), **fit)
    gn.save(trainer.model, folder / "model.safetensors")
    state = trainer.optimizer.state_dict()["state"]  # without what pads the flat buffers
    slots = [a for arrays in state.values() for a in arrays if a is not None]
    arrays = [*trainer.model.state_dict().values(), *slots]
    digest = hashlib.sha256(b"".join(to_host(a).tobytes() for a in arrays)).hexdigest()
    history = trainer.history
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    found = {
        "arrays": digest,
        "t": trainer.optimizer.t,
        "numbers": trainer.model.numbers(),
        "history": [rows, history.stopped, history.kept],
        "generator": rng.state(),
        "file": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    }
    (folder / "result.tmp").write_text(json.dumps(found))
    os.replace(folder / "result.tmp", folder / RESULT)


class Child:
    """A training in another process, seen from when its packages are loaded."""

    def __init__(self, name: str, device: str, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.tools.kill", "--child", name, device, str(folder)]
        threads = {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | threads
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.begun = time.monotonic()

    def end(self) -> float:
        """Let it run to its end; how long it took."""
        if self.process.wait() != 0:
            raise SystemExit(f"a training ended with status {self.process.returncode}")
        self._close()
        return time.monotonic() - self.begun

    def kill(self, seconds: float) -> bool:
        """After so many seconds; whether it still ran."""
        try:
            self.process.wait(max(0.0, self.begun + seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
        self._close()
        return self.process.wait() == -signal.SIGKILL

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


class Outcome(NamedTuple):
    name: str
    device: str
    moments: int  # kills
    begun: int  # of them when there was a checkpoint to go on from
    runs: int  # to the end
    equal: int  # of these


def kill_at_random(name: str, device: str, moments: int, draw: random.Random) -> Outcome:
    """So many kills of one training, one to three of them in a run."""
    killed = begun = runs = equal = 0
    with tempfile.TemporaryDirectory() as root:
        takes = Child(name, device, _new(root, "whole")).end()
        whole = (Path(root, "whole") / RESULT).read_text()
        while killed < moments:
            folder = _new(root, str(runs))
            for _ in range(min(draw.randint(1, 3), moments - killed)):
                if Child(name, device, folder).kill(draw.uniform(0, takes)):
                    killed += 1
                    begun += (folder / "checkpoint").exists()
            if not (folder / RESULT).exists():
                Child(name, device, folder).end()
            runs += 1
            equal += (folder / RESULT).read_text() == whole
    return Outcome(name, device, killed, begun, runs, equal)


def _new(root: str, name: str) -> Path:
    folder = Path(root, name)
    folder.mkdir()
    return folder


def outcomes(moments: int, seed: int, names: list[str]) -> Iterator[Outcome]:
    """Those of all trainings, the moments shared out evenly."""
    kinds = [(name, "cpu") for name in names]
    kinds += [(name, "cuda") for name in names if name in CAPTURED]
    draw = random.Random(seed)
    for k, (name, device) in enumerate(kinds):
        share = moments * (k + 1) // len(kinds) - moments * k // len(kinds)
        yield kill_at_random(name, device, share, draw)


def child(name: str, device: str, folder: str) -> None:
    warnings.simplefilter("error")
    if device == "cpu":
        train_after_a_word(name, device, folder)
        return
    from gpunet.testing import simgpu

    with simgpu.activate():
        train_after_a_word(name, device, folder)


def train_after_a_word(name: str, device: str, folder: str) -> None:
    print("ready", flush=True)
    train(name, device, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.kill")
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimizers", default=",".join(gn.OPTIMIZERS), help="names with commas")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    print(
        "| training | kills | with a checkpoint | runs to the end | equal |\n" + "| --- " * 5 + "|"
    )
    found = []
    for one in outcomes(arguments.moments, arguments.seed, arguments.optimizers.split(",")):
        found.append(one)
        where = ", captured" if one.device == "cuda" else ""
        print(f"| {one.name}{where} |", *(f"{n} |" for n in one[2:]), flush=True)
    sums = [sum(column) for column in list(zip(*found, strict=True))[2:]]
    print("| all |", *(f"{n:,} |" for n in sums))
    sys.exit(0 if sums[2] == sums[3] else 1)


if __name__ == "__main__":
    main()

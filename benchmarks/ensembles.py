"""64 networks in one step beside 64 trained one after the other.

    python -m benchmarks.ensembles [--rounds 3] [--no-launches]

On the digits, each network with its own learning rate, weights, order and early stop, both ways by
turns. It says whether all 64 histories and weights are the same to the last bit, how long both
take, and, counted on the simulated GPU, how many launches a step has for 2 and for 64 networks.
The record goes to benchmarks/results/ensembles/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks import records
from benchmarks.machine import processor, watched
from gpunet.data import Dataset, load
from gpunet.testing import simgpu

MODELS, EPOCHS, BATCH, PATIENCE = 64, 15, 32, 3
RATES = np.geomspace(1e-4, 1e-1, MODELS)
SHAPES: dict[str, Callable[[], Any]] = {
    "64-32-10": lambda: gn.MLP([64, 32, 10]),
    "64-100-50-10": lambda: gn.MLP([64, 100, 50, 10]),
    "64-32-10, BatchNorm, dropout 0.2": lambda: gn.MLP([64, 32, 10], batch_norm=True, dropout=0.2),
}
RESULTS = Path(__file__).parent / "results" / "ensembles"
Trained = tuple[list[Any], list[Any]]  # histories, models


def together(make: Callable[[], Any], data: Dataset) -> Trained:
    callbacks = [gn.EarlyStopping(PATIENCE)]
    ensemble = gn.Ensemble(make, MODELS, "adam", lr=RATES, callbacks=callbacks, progress=False)
    ensemble.fit(data.train, data.valid, EPOCHS, BATCH)
    return ensemble.histories, ensemble.models


def one_by_one(make: Callable[[], Any], data: Dataset) -> Trained:
    histories, models = [], []
    for seed, lr in enumerate(RATES.tolist()):
        gn.seed(seed)
        model = make()
        optimizer = gn.Adam(model.parameters(), lr=lr)
        callbacks = [gn.EarlyStopping(PATIENCE)]
        trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, progress=False)
        histories.append(trainer.fit(data.train, data.valid, EPOCHS, BATCH, seed))
        models.append(model)
    return histories, models


def same(one: Trained, other: Trained) -> bool:
    """Whether losses, ends and weights are alike to the last bit."""
    return all(
        a["train_loss"] == b["train_loss"]
        and a["valid_loss"] == b["valid_loss"]
        and (a.kept, a.stopped) == (b.kept, b.stopped)
        and all(map(np.array_equal, m.state_dict().values(), n.state_dict().values()))
        for a, b, m, n in zip(one[0], other[0], one[1], other[1], strict=True)
    )


def timed(train: Callable[..., Trained], *given: Any) -> tuple[float, float, Trained]:
    """Wall seconds and those of the processor, and what was trained."""
    began, used = time.perf_counter(), time.process_time()
    found = train(*given)
    return time.perf_counter() - began, time.process_time() - used, found


def measured(make: Callable[[], Any], data: Dataset, rounds: int) -> dict[str, Any]:
    """Seconds of both ways by turns. What is compared is the processor's time, which other programs
    disturb least: both take one thread.
    """
    together(make, data)  # makes the compiled loop
    pairs = [(timed(together, make, data), timed(one_by_one, make, data)) for _ in range(rounds)]
    epochs = [len(history) for history in pairs[0][0][2][0]]
    return {
        "epochs": [min(epochs), max(epochs)],
        "same to the last bit": all(same(a[2], b[2]) for a, b in pairs),
        "together, wall s": [round(a[0], 2) for a, _ in pairs],
        "one by one, wall s": [round(b[0], 2) for _, b in pairs],
        "together, processor s": [round(a[1], 2) for a, _ in pairs],
        "one by one, processor s": [round(b[1], 2) for _, b in pairs],
        "times as fast": round(statistics.median(b[1] / a[1] for a, b in pairs), 2),
    }


def launches() -> Iterator[tuple[int, float]]:
    """How many a step has, for 2 and for 64 networks with BatchNorm and dropout."""
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    data = x, np.arange(64) % 3

    def make() -> Any:
        return gn.MLP([8, 6, 3], batch_norm=True, dropout=0.2)

    for models in (2, MODELS):
        found = []
        for epochs in (2, 1):
            ensemble = gn.Ensemble(
                make, models, "adam", lr=[1e-3] * models, device="cuda", progress=False,
                on_nonfinite="ignore",
            )  # fmt: skip
            ensemble.fit(data, None, 1, 8)
            with simgpu.count() as used:
                ensemble.fit(data, None, epochs, 8)
            found.append(used.launches)
        yield models, (found[0] - found[1]) / 8  # an epoch of eight steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-launches", action="store_true")
    given = parser.parse_args()
    data = load("digits")
    record: dict[str, Any] = {"models": MODELS, "processor": processor(), **records.commit_here()}
    with watched() as others:
        for name, make in SHAPES.items():
            record[name] = measured(make, data, given.rounds)
            print(name, json.dumps(record[name]), flush=True)
    record["other programs"] = others.share
    if not given.no_launches:
        with simgpu.activate():
            record["launches a step, with the epoch's share"] = dict(launches())
        print("launches a step:", record["launches a step, with the epoch's share"])
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "cpu.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

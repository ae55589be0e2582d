"""A whole training beside PyTorch eager: wall time and accuracy, from data in memory to the end.

    python -m benchmarks.whole_training path/to/fashion-mnist [--rounds 3] [--threads 2]

Three epochs of 784-256-128-10 with BatchNorm, ReLU and Dropout 0.5, batch 128, Adam, on the CPU:
one library after the other, `rounds` times, each time from other initial weights, which PyTorch's
rule draws for both. It prints seconds and test accuracies, which differ by a percent from seed to
seed in either library; the record goes to benchmarks/results/training/.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import threads

EPOCHS, BATCH, HIDDEN, P = 3, 128, (256, 128), 0.5
PAUSE_S = 1.0
RESULTS = Path(__file__).parent / "results" / "training"
Result = tuple[float, float]  # seconds, test accuracy


def ours(data: Any, seed: int) -> Result:
    import numpy as np

    import gpunet as gn

    gn.seed(seed)
    model = gn.MLP([784, *HIDDEN, 10], batch_norm=True, dropout=P)
    draw = np.random.default_rng(seed)
    for layer in model:
        if isinstance(layer, gn.Affine):  # as PyTorch begins, so that the accuracies compare
            bound = layer.in_features**-0.5
            layer.W.data = draw.uniform(-bound, bound, layer.W.shape)
            layer.b.data = draw.uniform(-bound, bound, layer.b.shape)
    optimizer = gn.Adam(model.parameters())
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, progress=False)
    began = time.perf_counter()
    trainer.fit(data.train, epochs=EPOCHS, batch_size=BATCH, seed=seed)
    seconds = time.perf_counter() - began
    return seconds, trainer.evaluate(data.test)["accuracy"]


def pytorch(data: Any, seed: int) -> Result:
    """The loop as it is usually written: shuffled row numbers, rows by index."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in zip((784, *HIDDEN), HIDDEN, strict=False):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(P)]
    model = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 10))
    optimizer, loss_fn = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x, t, x_test, t_test = map(
        torch.from_numpy, (data.train.x, data.train.t, data.test.x, data.test.t)
    )
    began = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            loss_fn(model(x[rows]), t[rows]).backward()
            optimizer.step()
    seconds = time.perf_counter() - began
    model.eval()
    with torch.no_grad():
        right = model(x_test).argmax(1) == t_test
    return seconds, right.float().mean().item()


PEERS: dict[str, Callable[[Any, int], Result]] = {"gpunet": ours, "PyTorch eager": pytorch}


def measure(folder: str, rounds: int, count: int) -> dict[str, Any]:
    """The record: `ratio` is the median over the rounds of gpunet's seconds by PyTorch's."""
    import torch

    from benchmarks import machine, records
    from gpunet.data import load

    torch.set_num_threads(count)
    data = load(folder)
    header = records.header("cpu", machine.device_name("cpu"), threads=count)
    print("; ".join(header["blas"]))
    if header["pinned"]:
        print(header["pinned"])
    found: dict[str, list[Result]] = {name: [] for name in PEERS}
    with machine.watched() as others:
        for seed in range(10, 10 + rounds):
            for name, train in PEERS.items():
                time.sleep(PAUSE_S)
                found[name].append(train(data, seed))
                seconds, accuracy = found[name][-1]
                print(f"{name:<14} {seconds:6.2f} s  test accuracy {accuracy:.4f}", flush=True)
    pairs = zip(*found.values(), strict=True)
    return {
        **header,
        "versions": {"torch": torch.__version__},
        "others_share": others.share,
        "ratio": statistics.median(mine[0] / theirs[0] for mine, theirs in pairs),
        "trainings": {
            name: [{"seconds": s, "test_accuracy": a} for s, a in results]
            for name, results in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_training")
    parser.add_argument("data", help="folder with Fashion-MNIST's IDX files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    threads.limit(asked.threads, "cpu")
    record = measure(asked.data, asked.rounds, asked.threads)

    from benchmarks.records import write

    file = write(asked.out, record)
    print(f"{file.name}: gpunet takes {record['ratio']:.2f} of PyTorch's time")


if __name__ == "__main__":
    main()

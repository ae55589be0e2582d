"""`gpunet train`: a first network on real data."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

import gpunet as gn
from gpunet.commands import common, options, parse
from gpunet.data import Dataset, load
from gpunet.data.targets import Target
from gpunet.files import write_atomically
from gpunet.study import pictures
from gpunet.study.history_picture import save_curves


@click.command()
@options.data
@options.hidden("256,128")
@options.optimizer
@click.option(
    "--lr",
    callback=options.read(parse.rate),
    metavar="NUMBER",
    help="Learning rate; COCOB has none.  [default: the optimizer's]",
)
@click.option("--batch-norm", is_flag=True, help="BatchNorm before each activation.")
@options.text(
    "--dropout",
    parse.share,
    "SHARE",
    "0.2",
    "Share of each hidden layer that is dropped in training.",
)
@options.epochs(50)
@options.batch_size
@options.seed("initial weights, shuffling and dropout")
@options.device
@click.option(
    "--target",
    type=click.Choice(["auto", "class", "number"]),
    default="auto",
    show_default=True,
    help="What whole numbers as targets are: labels of classes, or quantities.",
)
@options.out("gpunet-out", "the model, the history, the summary and the picture")
def train(
    data: str,
    hidden: tuple[int, ...],
    optimizer: str,
    lr: float | None,
    batch_norm: bool,
    dropout: float,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str,
    target: Target,
    out: Path,
) -> None:
    """Train an MLP on DATA: "digits" (bundled), a folder of IDX files, a .csv or an .npz.

    Writes model.safetensors, history.csv, summary.json and, with matplotlib, curves.png to --out.
    Ctrl-C ends the training early and writes the best model so far.
    """
    with common.mistakes():
        dataset = load(data, target=target)
        place = common.device(device)
        gn.seed(seed)
        sizes = [dataset.features, *hidden, dataset.outputs]
        model = gn.MLP(sizes, batch_norm=batch_norm, dropout=dropout)
        model.to(place)
        loss = gn.SoftmaxWithLoss() if dataset.classes is not None else gn.MeanSquaredError()
        trainer = gn.Trainer(model, loss, _optimizer(optimizer, model, lr))
        common.prepare(out)
        click.echo(_introduction(dataset, model, place))
        started = time.perf_counter()
        valid = dataset.valid if len(dataset.valid) else None
        trainer.fit(dataset.train, valid, epochs=epochs, batch_size=batch_size, seed=seed)
        summary = _summary(trainer, dataset, data, place, time.perf_counter() - started)
        _write(out, trainer, summary, dataset.name)
    click.echo(_conclusion(summary, out))
    if trainer.history.stopped == "interrupted":
        click.echo("gpunet: interrupted; what was trained so far is kept", err=True)
        sys.exit(130)


def _optimizer(name: str, model: gn.Layer, lr: float | None) -> gn.Optimizer:
    kind = gn.OPTIMIZERS[name]
    if lr is None:
        return kind(model.parameters())
    if not kind.has_lr:
        raise ValueError(f"--lr: {kind.__name__} has no learning rate; leave it out")
    return kind(model.parameters(), lr=lr)


def _introduction(dataset: Dataset, model: gn.MLP, place: str) -> str:
    kind = f"{dataset.outputs} classes" if dataset.classes else f"{dataset.outputs} number(s)"
    parts = [len(part) for part in (dataset.train, dataset.valid, dataset.test)]
    extras = ", BatchNorm" if model.batch_norm else ""
    extras += f", Dropout {model.dropout:g}" if model.dropout and len(model.sizes) > 2 else ""
    return (
        f"{dataset.name}: {dataset.features} features, {kind}; {parts[0]:,} rows to train, "
        f"{parts[1]:,} to validate, {parts[2]:,} to test\n"
        f"MLP {'-'.join(map(str, model.sizes))}{extras} on {place}"
    )


def _summary(
    trainer: gn.Trainer, dataset: Dataset, name: str, device: str, seconds: float
) -> dict[str, Any]:
    """valid_ and test_ are of the model that is saved, train_ of the epoch that made it."""
    history = trainer.history
    rows = [row for row in history.rows if row["epoch"] == history.kept]
    valid = trainer.evaluate(dataset.valid) if len(dataset.valid) else {}
    test = trainer.evaluate(dataset.test) if len(dataset.test) else {}
    steps = trainer.optimizer.t
    return {
        "dataset": name,
        "device": device,
        "epochs": len(history),
        "train_loss": rows[0]["train_loss"] if rows else None,
        "valid_loss": valid.get("loss"),
        "valid_accuracy": valid.get("accuracy"),
        "test_loss": test.get("loss"),
        "test_accuracy": test.get("accuracy"),
        "seconds": seconds,
        "parameters": sum(p.size for p in trainer.model.parameters()),
        "steps": steps,
        "steps_per_second": steps / seconds,
        "optimizer": repr(trainer.optimizer),
        "stopped": history.stopped,
        "gpunet": gn.__version__,
    }


def _write(out: Path, trainer: gn.Trainer, summary: dict[str, Any], title: str) -> None:
    gn.save(trainer.model, out / "model.safetensors")
    trainer.history.save_csv(out / "history.csv")
    write_atomically(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    picture = out / "curves.png"
    if pictures.can_plot() and trainer.history.rows:
        save_curves(trainer.history, picture, title)
    else:  # an earlier run's would lie beside this one's numbers
        picture.unlink(missing_ok=True)


def _conclusion(summary: dict[str, Any], out: Path) -> str:
    if summary["test_accuracy"] is not None:
        result = f"test accuracy {summary['test_accuracy']:.4f}"
    elif summary["test_loss"] is not None:
        result = f"test loss {summary['test_loss']:.4g}"
    else:
        result = "trained"
    epochs = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    return (
        f"{result} after {epochs} in {summary['seconds']:.1f} s "
        f"({summary['steps_per_second']:,.0f} steps/s)\nwritten to {out}"
    )

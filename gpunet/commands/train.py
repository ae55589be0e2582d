"""`gpunet train`: a first network on real data."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import gpunet as gn
from gpunet import saving, threads
from gpunet.commands import common, options, parse
from gpunet.commands.stoppable import Stoppable
from gpunet.data import Dataset
from gpunet.files import readable
from gpunet.outputs import Outputs
from gpunet.study import pictures
from gpunet.study.history_picture import draw_curves
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt

FILES = ("model.safetensors", "history.csv", "summary.json", "curves.png")


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
@options.target
@options.label
@options.out("gpunet-out", "the model, the history, the summary and the picture")
@click.option(
    "--checkpoint-every",
    callback=options.read(parse.interval),
    metavar="TIME",
    help="Write checkpoint.safetensors to --out so often: 60s, 5m, 1h, or a number of epochs.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the training that was stopped in --out; begin one where there is none.",
)
def train(
    data: str,
    device: str,
    out: Path,
    epochs: int,
    batch_size: int,
    seed: int,
    checkpoint_every: int | str | None,
    resume: bool,
    **network: Any,
) -> None:
    """Train an MLP on DATA: "digits" (bundled), a folder of IDX files, a .csv or an .npz.

    Writes model.safetensors, history.csv, summary.json and, with matplotlib, curves.png to --out.
    Ctrl-C ends the training early and writes the best model so far; --resume then goes on.
    """
    with common.mistakes():
        dataset = common.dataset(data)
        place = common.device(device)
        gn.seed(seed)
        model, trainer = _trainer(dataset, place, **network)
        size = sum(p.data.nbytes for p in model.parameters())
        with common.outputs(out, FILES, size) as folder:
            click.echo(_introduction(dataset, model, place))
            # A signal that comes while files are written waits until they are.
            with DeferredInterrupt() as interrupt:
                run = Stoppable(trainer, out, checkpoint_every, resume)
                valid = dataset.valid if len(dataset.valid) else None
                order = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
                error = run.fit(dataset.train, valid, **order)
                seconds = run.seconds()
                history = _history(trainer, dataset)
                with _kept(trainer, history, dataset.description().to_words(), folder):
                    summary = _summary(trainer, dataset, data, place, seconds)
                    _describe(history, summary, dataset.name, folder)
                run.leave()
        click.echo(_conclusion(summary, out))
        if error is not None:
            raise error
    if trainer.history.stopped == "interrupted":
        click.echo("gpunet: interrupted; what was trained so far is kept", err=True)
        sys.exit(128 + (interrupt.signal or signal.SIGINT))


def _trainer(
    dataset: Dataset,
    place: str,
    *,
    hidden: tuple[int, ...],
    optimizer: str,
    lr: float | None,
    batch_norm: bool,
    dropout: float,
) -> tuple[gn.MLP, gn.Trainer]:
    sizes = [dataset.features, *hidden, dataset.outputs]
    model = gn.MLP(sizes, batch_norm=batch_norm, dropout=dropout)
    model.to(place)
    loss = gn.SoftmaxWithLoss() if dataset.classes is not None else gn.MeanSquaredError()
    return model, gn.Trainer(model, loss, _optimizer(optimizer, model, lr))


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
        f"{common.predicts(dataset)}"
    )


def _summary(
    trainer: gn.Trainer, dataset: Dataset, name: str, device: str, seconds: float
) -> dict[str, Any]:
    """valid_ and test_ are of the model that is saved, train_ of the epoch that made it. Losses are
    those of the targets as the file has them.
    """
    history = trainer.history
    rows = [row for row in history.rows if row["epoch"] == history.kept]
    valid = trainer.evaluate(dataset.valid) if len(dataset.valid) else {}
    test = trainer.evaluate(dataset.test) if len(dataset.test) else {}
    steps = trainer.optimizer.t
    losses = {
        "train_loss": rows[0]["train_loss"] if rows else None,
        "valid_loss": valid.get("loss"),
        "test_loss": test.get("loss"),
    }
    return {
        "dataset": readable(name),
        "device": device,
        "epochs": len(history),
        **_in_units(losses, dataset),
        "valid_accuracy": valid.get("accuracy"),
        "test_accuracy": test.get("accuracy"),
        "seconds": seconds,
        "parameters": sum(p.size for p in trainer.model.parameters()),
        "steps": steps,
        "steps_per_second": steps / seconds if seconds > 0 else None,  # by a coarse clock
        "optimizer": repr(trainer.optimizer),
        "stopped": history.stopped,
        "gpunet": gn.__version__,
        "blas": threads.blas(),
    }


def _history(trainer: gn.Trainer, dataset: Dataset) -> History:
    history = copy.copy(trainer.history)
    history.rows = [_in_units(row, dataset) for row in history.rows]
    return history


def _in_units(row: Row, dataset: Dataset) -> Row:
    """The row with losses of unscaled targets."""
    unit = dataset.target_scale**2
    return {k: v * unit if k.endswith("_loss") and v is not None else v for k, v in row.items()}


@contextlib.contextmanager
def _kept(
    trainer: gn.Trainer, history: History, about: dict[str, Any], folder: Outputs
) -> Iterator[None]:
    """The model goes to the disk first, and is kept whatever fails inside; somewhere near, if its
    folder does not take it.
    """
    model = saving.to_bytes(trainer.model, about)
    try:
        folder.stage("model.safetensors", model)
        folder.stage("history.csv", history.to_csv())
        try:
            yield
        finally:
            folder.commit()
    except OSError as error:
        place = folder.rescue("model.safetensors", model)
        where = f"the model is in {place}" if place else "nor is there a place near"
        common.fail(f"cannot write to {folder.folder}: {error.strerror or error}; {where}")


def _describe(history: History, summary: dict[str, Any], title: str, folder: Outputs) -> None:
    known = {  # JSON has no inf and no nan
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in summary.items()
    }
    folder.stage("summary.json", (json.dumps(known, indent=2, allow_nan=False) + "\n").encode())
    if pictures.can_plot() and history.rows:
        picture = draw_curves(history, title)
        folder.stage("curves.png", pictures.encode_figure(picture, "png"))


def _conclusion(summary: dict[str, Any], out: Path) -> str:
    if summary["test_accuracy"] is not None:
        result = f"test accuracy {summary['test_accuracy']:.4f}"
    elif summary["test_loss"] is not None:
        result = f"test loss {summary['test_loss']:.4g}"
    else:
        result = "trained"
    epochs = "1 epoch" if summary["epochs"] == 1 else f"{summary['epochs']} epochs"
    rate = summary["steps_per_second"]
    speed = "" if rate is None else f" ({rate:,.0f} steps/s)"
    return (
        f"{result} after {epochs} in {summary['seconds']:.1f} s{speed}\nwritten to {readable(out)}"
    )

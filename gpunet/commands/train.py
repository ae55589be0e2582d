"""`gpunet train`: a first network on real data."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import click

import gpunet as gn
from gpunet.commands import common
from gpunet.data import Dataset, load
from gpunet.files import write_atomically
from gpunet.study import pictures
from gpunet.study.history_picture import save_curves


def _lr(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise click.BadParameter(f"{value} is not a number from 0")
    return value


def _share(context: click.Context, option: click.Parameter, value: float) -> float:
    if not 0 <= value < 1:
        raise click.BadParameter(f"{value} is not a share from 0 to below 1")
    return value


def _seed(context: click.Context, option: click.Parameter, value: int) -> int:
    if not 0 <= value < 2**64:
        raise click.BadParameter(f"{value} is not a whole number from 0 to 2^64 - 1")
    return value


@click.command()
@click.argument("data", default="digits")
@click.option(
    "--hidden",
    callback=common.sizes,
    metavar="SIZES",
    default="256,128",
    show_default=True,
    help='Hidden layer sizes; "" for none.',
)
@click.option(
    "--optimizer",
    type=click.Choice(list(gn.OPTIMIZERS), case_sensitive=False),
    metavar="NAME",
    default="adam",
    show_default=True,
    help=f"One of {', '.join(gn.OPTIMIZERS)}.",
)
@click.option(
    "--lr",
    type=float,
    callback=_lr,
    metavar="NUMBER",
    help="Learning rate; COCOB has none.  [default: the optimizer's]",
)
@click.option("--batch-norm", is_flag=True, help="BatchNorm before each activation.")
@click.option(
    "--dropout",
    type=float,
    callback=_share,
    metavar="SHARE",
    default=0.2,
    show_default=True,
    help="Share of each hidden layer that is dropped in training.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    metavar="N",
    default=50,
    show_default=True,
    help="Passes over the training rows.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    default=32,
    show_default=True,
    help="Rows an update.",
)
@click.option(
    "--seed",
    type=int,
    callback=_seed,
    metavar="N",
    default=0,
    show_default=True,
    help="Of initial weights, shuffling and dropout.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto is a GPU if one is usable.",
)
@click.option(
    "--target",
    type=click.Choice(["auto", "class", "number"]),
    default="auto",
    show_default=True,
    help="What whole numbers as targets are: labels of classes, or quantities.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default="gpunet-out",
    show_default=True,
    help="Folder for the model, the history, the summary and the picture.",
)
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
    target: Any,
    out: Path,
) -> None:
    """Train an MLP on DATA: "digits" (bundled), a folder of IDX files, a .csv or an .npz.

    Writes model.safetensors, history.csv, summary.json and, with matplotlib, curves.png to --out.
    Ctrl-C ends the training early and writes the best model so far.
    """
    with common.told():
        dataset = load(data, target=target)
        place = common.device(device)
        gn.seed(seed)
        sizes = [dataset.features, *hidden, dataset.outputs]
        model = gn.MLP(sizes, batch_norm=batch_norm, dropout=dropout).to(place)
        opt = _optimizer(optimizer, model, lr)
        loss = gn.SoftmaxWithLoss() if dataset.classes is not None else gn.MeanSquaredError()
        trainer = gn.Trainer(model, loss, opt)
        common.prepare(out)
        click.echo(_introduction(dataset, sizes, batch_norm, dropout, place))
        started = time.perf_counter()
        valid = dataset.valid if len(dataset.valid) else None
        trainer.fit(dataset.train, valid, epochs=epochs, batch_size=batch_size, seed=seed)
        seconds = time.perf_counter() - started
        summary = _summary(trainer, dataset, data, place, seconds)
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


def _introduction(
    dataset: Dataset, sizes: list[int], batch_norm: bool, dropout: float, place: str
) -> str:
    kind = f"{dataset.outputs} classes" if dataset.classes else f"{dataset.outputs} number(s)"
    parts = [len(part) for part in (dataset.train, dataset.valid, dataset.test)]
    extras = ", BatchNorm" if batch_norm else ""
    extras += f", Dropout {dropout:g}" if dropout and len(sizes) > 2 else ""
    return (
        f"{dataset.name}: {dataset.features} features, {kind}; {parts[0]:,} rows to train, "
        f"{parts[1]:,} to validate, {parts[2]:,} to test\n"
        f"MLP {'-'.join(map(str, sizes))}{extras} on {place}"
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

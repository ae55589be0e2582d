"""`gpunet train`: a first network on real data."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click

import gpunet as gn
from gpunet.commands import common, config, options, parse
from gpunet.commands.examination import Examination
from gpunet.commands.recipe import Recipe
from gpunet.commands.results import describe, kept, summarised
from gpunet.commands.scheduling import Scheduling
from gpunet.commands.stoppable import Stoppable
from gpunet.data import Dataset
from gpunet.files import readable
from gpunet.train.fit import DONE
from gpunet.train.history import History
from gpunet.train.interrupt import DeferredInterrupt

FILES = ("model.safetensors", "history.csv", "summary.json", "curves.png", config.NAME)


@click.command()
@options.data
@options.hidden("256,128")
@options.activation
@options.batch_norm
@options.dropout
@options.optimizer
@options.maybe("--lr", parse.rate, "NUMBER", "Learning rate; COCOB has none.", "the optimizer's")
@options.text(
    "--schedule",
    Scheduling.parsed,
    "NAME",
    "constant",
    "How the learning rate goes on: constant, cosine (to 0), step[:EPOCHS] (a tenth of it each), "
    "exponential[:FACTOR], inverse-time[:NUMBER]; warmup+NAME lets it rise first.",
)
@options.maybe(
    "--weight-decay", parse.not_negative, "NUMBER", "Decay of the weights.", "the optimizer's"
)
@options.maybe("--clip-norm", parse.positive, "NUMBER", "Most that the gradients' norm may be.")
@options.maybe(
    "--class-weights",
    parse.class_weights,
    "WEIGHTS",
    "balanced, that rare classes count as much as others, or cat=2,dog=0.5.",
)
@options.epochs(50)
@options.batch_size
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="N",
    help="End when the validation loss has not fallen for so many epochs.",
)
@options.seed("initial weights, shuffling and dropout")
@options.device
@options.target
@options.label
@options.valid_share
@click.option(
    "--test",
    metavar="DATA",
    help="Rows to test on, as `gpunet evaluate` reads them; none of DATA are kept for it then.",
)
@options.out("gpunet-out", "the model, the history, the summary, the picture and the options")
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
@options.config
def train(
    data: str,
    device: str,
    test: str | None,
    out: Path,
    epochs: int,
    batch_size: int,
    patience: int | None,
    seed: int,
    checkpoint_every: int | str | None,
    resume: bool,
    **recipe: Any,
) -> None:
    """Train an MLP on DATA: "digits" (bundled), a folder of IDX files, a .csv or an .npz.

    Prints how good the model of the best epoch is on rows that it was not trained on. Writes it as
    model.safetensors, and history.csv, summary.json, config.toml (all options, for --config) and,
    with matplotlib, curves.png, to --out. Ctrl-C ends the training early and writes the best model
    so far; --resume then goes on.
    """
    with common.mistakes():
        dataset = common.dataset(data, without_test=test is not None)
        place = common.device(device)
        gn.seed(seed)
        trainer = Recipe(**recipe).trainer(dataset, place, epochs, batch_size)
        examination = Examination(trainer, dataset, test)
        size = sum(p.data.nbytes for p in trainer.model.parameters())
        with common.outputs(out, FILES, size) as folder:
            click.echo(_introduction(dataset, trainer.model, place, test))
            # A signal that comes while files are written waits until they are.
            with DeferredInterrupt() as interrupt:
                run = Stoppable(trainer, out, checkpoint_every, resume, patience)
                valid = dataset.valid if len(dataset.valid) else None
                order = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
                error = run.fit(dataset.train, valid, **order)
                seconds = run.seconds()
                with kept(trainer, dataset, folder) as history:
                    found = examination.result()
                    about = {"dataset": readable(data), "device": place, "seconds": seconds}
                    summary = about | summarised(trainer, dataset, seconds) | found.numbers
                    describe(history, summary, dataset.name, folder)
                    folder.stage(config.NAME, config.written(click.get_current_context()))
                run.leave()
        click.echo(f"{found.report}\n\n{_conclusion(summary, trainer.history, out)}")
        if error is not None:
            raise error
    if trainer.history.stopped == "interrupted":
        click.echo("gpunet: interrupted; what was trained so far is kept", err=True)
        sys.exit(128 + (interrupt.signal or signal.SIGINT))


def _introduction(dataset: Dataset, model: Any, place: str, test: str | None) -> str:
    kind = f"{dataset.outputs} classes" if dataset.classes else f"{dataset.outputs} number(s)"
    parts = [f"{len(part):,}" for part in (dataset.train, dataset.valid, dataset.test)]
    tested = f"{parts[2]} to test" if test is None else f"those of {readable(test)} to test"
    extras = ", BatchNorm" if model.batch_norm else ""
    extras += f", Dropout {model.dropout:g}" if model.dropout and len(model.sizes) > 2 else ""
    return (
        f"{dataset.name}: {dataset.features} features, {kind}; {parts[0]} rows to train, "
        f"{parts[1]} to validate, {tested}\n"
        f"MLP {'-'.join(map(str, model.sizes))}{extras} on {place}"
        f"{common.predicts(dataset)}"
    )


def _conclusion(summary: dict[str, Any], history: History, out: Path) -> str:
    if summary["test_accuracy"] is not None:
        result = f"test accuracy {summary['test_accuracy']:.4f}"
    elif summary.get("test_r2") is not None:
        result = f"test R2 {summary['test_r2']:.4f}"
    else:
        result = "trained"
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    rate = summary["steps_per_second"]
    speed = "" if rate is None else f" ({rate:,.0f} steps/s)"
    why = "" if history.stopped == DONE else f"; {history.stopped}"
    lines = [f"{result} after {epochs} in {summary['seconds']:.1f} s{speed}{why}"]
    if history.kept is not None and summary["valid_loss"] is not None:
        lines.append(f"the model is that of epoch {history.kept}, the best on the validation rows")
    return "\n".join([*lines, f"written to {readable(out)}"])

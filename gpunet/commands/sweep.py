"""`gpunet sweep`: many settings of one optimizer, all networks of a shape in one step."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from gpunet import progress, saving
from gpunet.commands import common, options, parse
from gpunet.data import Dataset
from gpunet.files import readable
from gpunet.loss import MeanSquaredError, SoftmaxWithLoss
from gpunet.optim import OPTIMIZERS
from gpunet.outputs import Outputs
from gpunet.study import columns, pictures
from gpunet.study.sweep_picture import encode_sweep
from gpunet.study.sweeping import Sweep
from gpunet.study.sweeping import sweep as sweep_over
from gpunet.study.words import say
from gpunet.train import Trainer

FILES = ("sweep.csv", "model.safetensors", "sweep.png", "sweep.svg")
MOST = 4096  # networks


@click.command()
@options.data
@click.option(
    "--hidden",
    callback=options.read(parse.sizes),
    multiple=True,
    metavar="SIZES",
    default=("100,50",),
    show_default=True,
    help="Hidden layer sizes; repeat it for other shapes.",
)
@options.optimizer
@options.maybe(
    "--lr", parse.spread, "RATES", "0.001,0.01 or 1e-4:1 (half decades).", "1e-4:1e-1 for most"
)
@options.text("--weight-decay", parse.decays, "NUMBERS", "0", "Such as 0,1e-4,1e-2.")
@options.text("--dropout", parse.shares, "SHARES", "0", "Such as 0,0.2,0.5.")
@options.count("--seeds", 1, "Networks for each combination.", most=1000)
@options.epochs(15)
@options.count("--patience", 5, "Epochs without a better loss after which a network stops.")
@options.batch_size
@click.option("--batch-norm", is_flag=True, help="BatchNorm before each activation.")
@options.target
@options.label
@options.device
@options.out("gpunet-sweep", "the table, the pictures and the best model")
def sweep(data: str, hidden: list[tuple[int, ...]], out: Path, **given: Any) -> None:
    """Train a network on DATA for every combination of settings, and say which one to use.

    All networks of one shape train in one step, 64 at most; each has its own weights, order and
    dropout, and stops by itself. Writes sweep.csv (one row a network), model.safetensors (the best,
    for gpunet predict) and, with matplotlib, sweep.png and sweep.svg. The test rows are seen once,
    by the best network. Ctrl-C ends it with what there is.
    """
    with common.mistakes():
        place = common.device(given.pop("device"))
        settings = _settings(given)
        dataset = common.dataset(data)
        shapes = list(dict.fromkeys(hidden))
        count = _count(shapes, settings)
        told = f"{count} networks, training on {place}{common.predicts(dataset)}"
        click.echo("\n".join(map(say, told.split("\n"))))
        network = {"batch_norm": settings.pop("batch_norm")}
        with common.outputs(out, FILES) as folder:
            began = time.perf_counter()
            with progress.bar(count, unit="network") as bar:
                found = sweep_over(
                    dataset, shapes, network=network, device=place, progress=bar.update, **settings
                )
            _report(found, dataset, time.perf_counter() - began, Path(data).name or data, folder)
    if found.interrupted:
        kept = f"interrupted; {len(found.outcomes)} of {count} networks were begun"
        click.echo(say(kept), err=True)
        sys.exit(130)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """The options as `gpunet.study.sweep` takes them."""
    kind = OPTIMIZERS[given["optimizer"]]
    rates = given.pop("lr")
    if rates is not None and not kind.has_lr:
        raise ValueError(f"{kind.__name__} has no learning rate; leave --lr out")
    if kind.has_lr:
        given["lr"] = rates or parse.default_rates(given["optimizer"])
    return given


def _count(shapes: list[tuple[int, ...]], settings: dict[str, Any]) -> int:
    count: int = len(shapes) * settings["seeds"]
    for name in ("lr", "weight_decay", "dropout"):
        count *= len(settings.get(name, [None]))
    if count > MOST:
        raise ValueError(f"{count} networks; at most {MOST}, so give fewer values")
    return count


def _report(found: Sweep, data: Dataset, seconds: float, name: str, out: Outputs) -> None:
    best, total = found.best, len(found.outcomes)
    failed = sum(outcome.failed is not None for outcome in found.outcomes)
    early = sum(o.history.stopped.startswith("no better") for o in found.outcomes)
    if found.model is None or best.epoch is None:
        common.fail(f"none of {total} networks could be trained: {best.history.stopped}")
    click.echo(f"\n{found.text(width=columns.room())}\n")
    lasted = f"{total} networks in {seconds:.1f} s: {early} stopped early"
    click.echo(say(lasted + (f", {failed} became infinite" if failed else "")))
    loss = MeanSquaredError() if data.classes is None else SoftmaxWithLoss()
    if len(data.test):
        scores = Trainer(found.model, loss, None).evaluate(data.test)  # type: ignore[arg-type]
        told = [f"{say(key)} {value:.4f}" for key, value in scores.items()]
        click.echo(say(f"the best of them on the test rows: {', '.join(told)}"))
    files = {
        "sweep.csv": found.to_csv(),
        "model.safetensors": saving.to_bytes(found.model, data.description().to_words()),
        **(encode_sweep(found, readable(name)) if pictures.can_plot() else {}),
    }
    for file, content in files.items():
        out.stage(file, content)
    out.commit()
    written = ", ".join(readable(out.folder / file) for file in files)
    click.echo("\n" + say(f"written: {written}"))
    if not pictures.can_plot():
        click.echo(say("no sweep.png and sweep.svg: pip install 'gpunet[plot]' for matplotlib"))

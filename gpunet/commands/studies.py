"""The studies of `gpunet study` that answer with tables: what the notes claim, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpunet.commands import common, options, parse
from gpunet.commands.landscape import named
from gpunet.files import readable
from gpunet.study.landscapes import Landscape
from gpunet.study.tables import Table, report
from gpunet.study.words import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

no_pictures = click.option("--no-pictures", is_flag=True, help="The tables only.")


def _show(tables: Sequence[Table]) -> None:
    click.echo(report(tables))


def _draw(draw: Callable[[], Figure], name: str, out: Path, drawn: bool) -> None:
    """NAME.png and NAME.svg in --out, where matplotlib is there."""
    from gpunet.study import pictures

    if not drawn:
        return
    names = [f"{name}.{ending}" for ending in ("png", "svg")]
    with common.outputs(out, names) as folder:
        for file, content in pictures.encode_both(draw, name).items():
            folder.stage(file, content)
        folder.commit()
    click.echo(say(f"written to {readable(out)}: {', '.join(names)}"))


@click.command()
@options.text(
    "--alphas", parse.numbers, "NUMBERS", "0,0.5,0.9,0.99,1", "The momenta that are compared."
)
def momentum(alphas: list[float]) -> None:
    """What momentum does: how fast it gets, how it circles, which valley it leaves."""
    from gpunet.study.momentum import momentum as find

    with common.mistakes():
        _show(find(alphas))


@click.command()
@options.text("--sizes", parse.counts, "SIZES", "1,8,32,128", "Batch sizes, beside all rows.")
@options.seed("weights and order")
@options.out("gpunet-out", "the pictures")
@no_pictures
def batches(sizes: list[int], seed: int, out: Path, no_pictures: bool) -> None:
    """Full batch, mini-batches, single rows: time, memory, noise of a step, swings of the loss."""
    from gpunet.study.batches import batches as find

    with common.mistakes():
        found = find(sizes, seed)
        _show(found.tables())
        _draw(found.draw, "batches", out, not no_pictures)


@click.command()
@options.text("--conditions", parse.numbers, "NUMBERS", "1,10,100", "How narrow the valleys are.")
def valleys(conditions: list[float]) -> None:
    """Narrow valleys, along an axis and turned: how many steps each optimizer needs."""
    from gpunet.study.valleys import valleys as find

    with common.mistakes():
        _show(find(conditions))


@click.command()
@options.text("--on", named, "LANDSCAPE", "bowl", "Where they walk; gpunet landscape --list.")
@options.text(
    "--optimizers", parse.optimizers, "NAMES", "sgd,adagrad,rmsprop,adadelta", "Who walks."
)
@options.out("gpunet-out", "the pictures")
@no_pictures
def rates(on: Landscape, optimizers: list[str], out: Path, no_pictures: bool) -> None:
    """The effective rate of each weight, step by step: step over gradient."""
    from gpunet.study.effective_rates import effective_rates

    with common.mistakes():
        found = effective_rates(on, optimizers)
        _show([found.table()])
        _draw(found.draw, "rates", out, not no_pictures)


@click.command()
def units() -> None:
    """A weight or a loss in another unit: who walks the same path. AdaDelta with a rate."""
    from gpunet.study.units import units as find

    _show(find())


@click.command()
@options.text("--betas", parse.numbers, "B1,B2", "0.9,0.999", "Adam's.")
@options.text("--noise", parse.not_negative, "NUMBER", "0", "Deviation, beside gradients of 1.")
def corrections(betas: list[float], noise: float) -> None:
    """Adam's first steps with its corrections, and what they would be without."""
    from gpunet.study.corrections import corrections as find

    with common.mistakes():
        _show([find(betas, noise)])


@click.command()
@options.seed("the network's weights")
def curvature(seed: int) -> None:
    """Minimum or saddle? The curvature where the slope is 0, on landscapes and in a network.

    In Python gpunet.study.curvature(model, loss, data) looks at a network of your own.
    """
    from gpunet.study.standstill import standstill

    with common.mistakes():
        _show(standstill(seed))


@click.command()
@options.out("gpunet-out", "the pictures")
@no_pictures
def losses(out: Path, no_pictures: bool) -> None:
    """L2 and KL of one perceptron over its weight and bias: convex or not, steep or flat."""
    from gpunet.study.perceptron import draw, perceptron

    with common.mistakes():
        _show(perceptron())
        _draw(draw, "losses", out, not no_pictures)


COMMANDS = (momentum, batches, valleys, rates, units, corrections, curvature, losses)

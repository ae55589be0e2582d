"""`gpunet study`: what happens inside, printed and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from gpunet.commands import common, options, parse, studies
from gpunet.files import readable
from gpunet.study.words import say


@click.group()
def study() -> None:
    """Look inside the parts of a network."""


@study.command()
@click.argument("name", callback=options.read(parse.optimizer))
@click.option(
    "--gradients",
    callback=options.read(parse.numbers),
    metavar="NUMBERS",
    default="5,3,-1",
    show_default=True,
    help="The gradient of each update.",
)
@options.maybe("--lr", parse.rate, "NUMBER", "Learning rate.", "the optimizer's")
@click.option(
    "--set",
    "others",
    callback=options.read(parse.setting),
    multiple=True,
    metavar="NAME=VALUE",
    help="Another setting, such as alpha=0.9 or betas=0.9,0.99; may be repeated.",
)
@options.text("--param", parse.number, "NUMBER", "0", "Where the weight begins.")
@options.out("gpunet-out", "the page")
def optimizer(
    name: str,
    gradients: list[float],
    lr: float | None,
    others: list[tuple[str, Any]],
    param: float,
    out: Path,
) -> None:
    """Walk through optimizer NAME's updates of one weight: scalars, state, effective rate, step.

    Prints them in a table under the formula, and writes NAME.html to --out. In Python:
    gpunet.study.optimizer(NAME, gradients, lr=...).
    """
    from gpunet.study.optimizer_walk import optimizer as walk_through

    settings = dict(others) | ({} if lr is None else {"lr": lr})
    with common.mistakes():
        try:
            walk = walk_through(name, gradients, param, **settings)
        except TypeError as error:
            raise ValueError(str(error)) from None
        file = out / f"{name}.html"
        with common.outputs(out, [file.name]):
            walk.save(file)
    click.echo(walk)
    click.echo(say(f"written to {readable(file)}"))


@study.command()
@options.count("--rows", 4, "Rows of the batch.", least=2, most=1000)
@options.count("--features", 2, "Columns of the batch.", most=100)
@options.seed("the random batch, gamma, beta and upstream gradient")
@options.out("gpunet-out", "the picture")
def batchnorm(rows: int, features: int, seed: int, out: Path) -> None:
    """Walk through BatchNorm: every value forward, every gradient backward, beside the closed form.

    Prints the stages for a small random batch and writes batchnorm.svg to --out. A batch of your
    own: gpunet.study.batchnorm(x, gamma, beta, dy).
    """
    from gpunet.study.batchnorm_walk import batchnorm as walk_through

    draw = np.random.default_rng(seed).normal
    walk = walk_through(
        draw(1, 2, (rows, features)),
        draw(1, 0.3, features),
        draw(0, 0.3, features),
        draw(0, 1, (rows, features)),
    )
    picture = out / "batchnorm.svg"
    with common.mistakes(), common.outputs(out, [picture.name]):
        walk.save(picture)
    click.echo(walk)
    click.echo(say(f"written to {readable(picture)}"))


for command in studies.COMMANDS:
    study.add_command(command)

"""`gpunet study`: what happens inside, printed and drawn."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from gpunet.commands import common


@click.group()
def study() -> None:
    """Look inside the parts of a network."""


@study.command()
@click.option(
    "--rows",
    type=click.IntRange(2, 1000),
    metavar="N",
    default=4,
    show_default=True,
    help="Rows of the batch.",
)
@click.option(
    "--features",
    type=click.IntRange(1, 100),
    metavar="N",
    default=2,
    show_default=True,
    help="Columns of the batch.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Of the random batch, gamma, beta and upstream gradient.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default="gpunet-out",
    show_default=True,
    help="Folder for the picture.",
)
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
    common.prepare(out)
    walk.save(picture)
    click.echo(walk)
    click.echo(f"written to {picture}")

"""`gpunet study`: what happens inside, printed and drawn."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from gpunet.commands import common, options
from gpunet.files import readable


@click.group()
def study() -> None:
    """Look inside the parts of a network."""


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
    click.echo(f"written to {readable(picture)}")

"""The studies of `gpunet study` that answer with tables: what the notes claim, measured."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gpunet.commands import common, options, parse
from gpunet.study.tables import Table, report


def _show(tables: Sequence[Table]) -> None:
    click.echo(report(tables))


@click.command()
@options.text(
    "--alphas", parse.numbers, "NUMBERS", "0,0.5,0.9,0.99,1", "The momenta that are compared."
)
def momentum(alphas: list[float]) -> None:
    """What momentum does: how fast it gets, how it circles, which valley it leaves."""
    from gpunet.study.momentum import momentum as find

    with common.mistakes():
        _show(find(alphas))


COMMANDS = (momentum,)

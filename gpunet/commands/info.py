"""`gpunet info`: what is there to train with."""

from __future__ import annotations

import click

from gpunet import machine


@click.command()
def info() -> None:
    """Show versions and the GPU, or why none is usable and what mends it."""
    click.echo(machine.report())

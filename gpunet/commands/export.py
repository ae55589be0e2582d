"""`gpunet export`: a model for runtimes that know nothing of gpunet."""

from __future__ import annotations

from pathlib import Path

import click

import gpunet as gn


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--softmax", is_flag=True, help="Probabilities in place of logits.")
def export(model: Path, out: Path, softmax: bool) -> None:
    """Write MODEL, a file that `gpunet train` or `gn.save` wrote, as the ONNX file OUT."""
    if out.suffix != ".onnx":
        raise click.BadParameter(f"{str(out)!r} must end in .onnx", param_hint="OUT")
    try:
        gn.to_onnx(gn.load(model), out, softmax=softmax)
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{out}: input x (batch, features), output y (batch, outputs)")

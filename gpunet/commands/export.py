"""`gpunet export`: a model for runtimes that know nothing of gpunet."""

from __future__ import annotations

from pathlib import Path

import click

import gpunet as gn
from gpunet import saving
from gpunet.commands import common, options


@click.command()
@options.model
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--softmax", is_flag=True, help="Probabilities in place of logits.")
@click.option(
    "--network", is_flag=True, help="The network alone, for rows that are scaled already."
)
def export(model: Path, out: Path, softmax: bool, network: bool) -> None:
    """Write MODEL, a file that `gpunet train` or `gn.save` wrote, as the ONNX file OUT.

    What `gpunet train` wrote takes raw rows, as the training file has them, and answers in its
    units.
    """
    if out.suffix != ".onnx":
        raise click.BadParameter(f"{str(out)!r} must end in .onnx", param_hint="OUT")
    try:
        path = common.model_file(model)
        layers, words = saving.load_described(path)
        described = words is not None and not network
        source = gn.Predictor.load(path) if described else layers
        gn.to_onnx(source, out, softmax=softmax)
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{out}: {_inputs(source)}, output y (batch, outputs)")


def _inputs(source: gn.Layer | gn.Predictor) -> str:
    if not isinstance(source, gn.Predictor):
        return "input x (batch, features)"
    if source.data.features is None:
        return "input x (batch, columns) of raw rows"
    return f"an input (batch, 1) of raw rows for each of {common.listed(source.data.read)}"

"""`gpunet show`: what a file of gpunet's holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from gpunet import saving
from gpunet.commands import common, options
from gpunet.data.description import Description
from gpunet.data.features import Feature
from gpunet.files import readable


@click.command()
@options.model
def show(model: Path) -> None:
    """Say what the file MODEL holds.

    MODEL is a file that gpunet wrote, or the folder of a `gpunet train`. Told are the network, what
    it was trained on, what it reads and what it predicts.
    """
    with common.mistakes():
        path = common.model_file(model)
        metadata, arrays = saving.read(path, *saving.HOLDERS)
        kind = next(kind for kind in saving.HOLDERS if kind in metadata)
        size = sum(int(array.size) for array in arrays.values())
        lines = [f"{readable(path)}: a gpunet {kind}, {size:,} numbers"]
        if kind == "model":
            lines += _model(path)
        else:
            lines.append(f"to be read by {saving.HOLDERS[kind]}")
    click.echo("\n".join(lines))


def _model(path: Path) -> Iterator[str]:
    network, words = saving.load_described(path)
    yield f"network: {network!r}"
    yield f"{sum(p.size for p in network.parameters()):,} parameters"
    if words is None:
        yield "no description of data: `gpunet predict` does not read it, gn.load(path) does"
        return
    try:
        about = Description.from_words(words)
    except ValueError as error:
        yield str(error)
        return
    yield f"trained on: {about.name}"
    yield f"predicts: {_predicts(about)}"
    yield f"reads: {_reads(about)}"
    yield from (f"  {_feature(feature)}" for feature in about.features or ())
    if about.header is not None and about.titled:
        left = [name for name in about.header if name not in (*(about.columns or ()), about.label)]
        if left:
            yield f"leaves out: {common.listed(left)}"


def _predicts(about: Description) -> str:
    what = about.label or "prediction"
    if about.classes is not None:
        return f"{what}, {len(about.classes)} classes: {common.listed(about.classes)}"
    kind = "a number" if about.outputs == 1 else f"{about.outputs} numbers"
    return f"{what}, {kind}"


def _reads(about: Description) -> str:
    if about.shape is not None:
        return f"samples of shape {about.shape}"
    names = f": {common.listed(about.columns)}" if about.columns else ""
    return f"{about.count} columns{names}"


def _feature(feature: Feature) -> str:
    flag = ", and whether it is missing" if feature.flag else ""
    inside = ""
    if feature.kind == "category":
        other = " and others" if feature.other else ""
        inside = f" of {len(feature.values)} names{other} ({common.listed(feature.values)})"
    return f"{feature.name}: {feature.kind}{inside}{flag}; where missing, {feature.filling}"

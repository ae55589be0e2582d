"""`gpunet predict`: what a trained network says of new rows."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from gpunet.commands import common, options
from gpunet.files import readable, write_atomically
from gpunet.predictor import Predictor


@click.command()
@options.model
@options.rows
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The .csv to write, at once or not at all.  [default: standard output]",
)
@click.option("--proba", is_flag=True, help="The probability of each class.")
@options.predicts_on
def predict(model: Path, data: str, out: Path | None, proba: bool, device: str) -> None:
    """Predict the rows of DATA with MODEL.

    MODEL is a file that `gpunet train` wrote, or its folder. DATA is a .csv, .npz or .parquet, a
    folder of IDX files, or - for standard input. Columns are found by their names, in any order.
    The answer is a CSV with a line for each row, in their order.
    """
    with common.mistakes():
        _check_out(out, common.model_file(model), data)
        predictor = common.predictor(model, device)
        answers = predictor.answers(data)
        table = _table(predictor, answers.outputs, proba)
    for note in answers.notes:
        click.echo(f"gpunet: {note}", err=True)
    if out is None:
        sys.stdout.write(table)
        return
    try:
        write_atomically(out, table.encode())
    except OSError as error:
        common.fail(f"--out {readable(out)}: cannot write there: {error.strerror or error}")
    click.echo(f"{len(answers.outputs):,} rows written to {readable(out)}", err=True)


def _check_out(out: Path | None, model: Path, data: str) -> None:
    """Nothing that was read is written over, and what is written is what its name says."""
    if out is None:
        return
    for other, what in ((model, "the model"), (Path(data), "DATA")):
        if out.exists() and other.exists() and os.path.samefile(out, other):
            common.fail(f"--out {readable(out)}: that is {what}; give another name")
    if out.suffix.lower() in (".npz", ".npy", ".parquet", ".safetensors", ".xlsx", ".gz"):
        common.fail(f"--out {readable(out)}: predictions are written as CSV; name it .csv")
    if not out.absolute().parent.is_dir():
        common.fail(f"--out {readable(out)}: there is no folder {readable(out.absolute().parent)}")


def _table(predictor: Predictor, outputs: Any, proba: bool) -> str:
    """A CSV with a header."""
    about, text = predictor.data, io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    if about.classes is None:
        if proba:
            raise ValueError(f"--proba: {predictor.label} is a number, which has no probabilities")
        several = about.outputs > 1
        names = [f"{predictor.label}_{k}" for k in range(about.outputs)]
        lines.writerow(names if several else [predictor.label])
        lines.writerows(_rounded(outputs, about.target_scale).tolist())
    elif proba:
        lines.writerow(about.classes)
        shares = predictor.probabilities(outputs)
        lines.writerows([f"{share:.7g}" for share in row] for row in shares.tolist())
    else:
        lines.writerow([predictor.label])
        lines.writerows([about.classes[k]] for k in outputs.argmax(axis=1).tolist())
    return text.getvalue()


def _rounded(numbers: Any, scale: float) -> Any:
    """To the digits that float32 has of a number of this scale: the others say nothing."""
    return np.round(numbers, max(0, 7 - int(np.ceil(np.log10(scale)))))

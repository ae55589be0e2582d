"""`gpunet evaluate`: how good a trained network is on rows of which it is known what is true."""

from __future__ import annotations

from pathlib import Path

import click

from gpunet import metrics
from gpunet.commands import common, options


@click.command()
@options.model
@options.rows
@options.predicts_on
def evaluate(model: Path, data: str, device: str) -> None:
    """Say how good MODEL is on the rows of DATA.

    MODEL is a file that `gpunet train` wrote, or its folder. DATA is a .csv, .npz or .parquet, a
    folder of IDX files, or - for standard input, and has the column that is predicted. Of numbers
    R2, MAE and RMSE are printed; of classes the accuracy, precision, recall and F1 of each, and the
    confusion matrix.
    """
    with common.mistakes():
        predictor = common.predictor(model, device)
        answers = predictor.answers(data, truth=True)
        assert answers.truth is not None
        names = predictor.data.classes
        if names is None:
            report = metrics.number_report(answers.truth, answers.outputs)
            report += f" of {len(answers.truth):,} rows"
        else:
            report = metrics.class_report(answers.truth, answers.outputs.argmax(axis=1), names)
    for note in answers.notes:
        click.echo(f"gpunet: {note}", err=True)
    click.echo(f"{predictor.label}: {report}")

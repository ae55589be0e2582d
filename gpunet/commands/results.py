"""What `gpunet train` leaves in --out: the model, the history, the summary and the picture."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import gpunet as gn
from gpunet import saving, threads
from gpunet.commands import common
from gpunet.data import Dataset
from gpunet.outputs import Outputs
from gpunet.study import pictures
from gpunet.study.history_picture import draw_curves
from gpunet.train.history import History, Row


@contextlib.contextmanager
def kept(trainer: gn.Trainer, dataset: Dataset, folder: Outputs) -> Iterator[History]:
    """The model goes to the disk first, and is kept whatever fails inside; somewhere near, if its
    folder does not take it. Inside there is the history in the units of the data.
    """
    model = saving.to_bytes(trainer.model, dataset.description().to_words())
    history = copy.copy(trainer.history)
    history.rows = [_in_units(row, dataset) for row in history.rows]
    try:
        folder.stage("model.safetensors", model)
        folder.stage("history.csv", history.to_csv())
        try:
            yield history
        finally:
            folder.commit()
    except OSError as error:
        place = folder.rescue("model.safetensors", model)
        where = f"the model is in {place}" if place else "nor is there a place near"
        common.fail(f"cannot write to {folder.folder}: {error.strerror or error}; {where}")


def summarised(trainer: gn.Trainer, dataset: Dataset, seconds: float) -> dict[str, Any]:
    """valid_ and test_ are of the model that is saved, train_ of the epoch that made it. Losses are
    those of the targets as the file has them.
    """
    history = trainer.history
    rows = [row for row in history.rows if row["epoch"] == history.kept]
    valid = trainer.evaluate(dataset.valid) if len(dataset.valid) else {}
    test = trainer.evaluate(dataset.test) if len(dataset.test) else {}
    steps = trainer.optimizer.t
    losses = {
        "train_loss": rows[0]["train_loss"] if rows else None,
        "valid_loss": valid.get("loss"),
        "test_loss": test.get("loss"),
    }
    return {
        "epochs": len(history),
        "epoch": history.kept,
        **_in_units(losses, dataset),
        "valid_accuracy": valid.get("accuracy"),
        "test_accuracy": test.get("accuracy"),
        "parameters": sum(p.size for p in trainer.model.parameters()),
        "steps": steps,
        "steps_per_second": steps / seconds if seconds > 0 else None,  # by a coarse clock
        "optimizer": repr(trainer.optimizer),
        "stopped": history.stopped,
        "gpunet": gn.__version__,
        "blas": threads.blas(),
    }


def describe(history: History, summary: dict[str, Any], title: str, folder: Outputs) -> None:
    """The summary and, with matplotlib, the picture."""
    known = {  # JSON has no inf and no nan
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in summary.items()
    }
    folder.stage("summary.json", (json.dumps(known, indent=2, allow_nan=False) + "\n").encode())
    if pictures.can_plot() and history.rows:
        picture = draw_curves(history, title)
        folder.stage("curves.png", pictures.encode_figure(picture, "png"))


def _in_units(row: Row, dataset: Dataset) -> Row:
    """The row with losses of unscaled targets."""
    unit = dataset.target_scale**2
    return {k: v * unit if k.endswith("_loss") and v is not None else v for k, v in row.items()}

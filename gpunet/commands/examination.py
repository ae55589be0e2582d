"""How good a network is on rows that it was not trained on: what `gpunet train` ends with."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import gpunet as gn
from gpunet import metrics
from gpunet.backend import to_host
from gpunet.data import Dataset, Split
from gpunet.files import readable


class Found(NamedTuple):
    """report: lines to read. numbers: by their names in summary.json."""

    report: str
    numbers: dict[str, Any]


class Examination:
    """Of the trainer's model on the test rows: those of the data, or of a source of their own; on
    the validation rows where there are no others.

    ValueError where the source does not fit the data. It is read once before the training, so that
    nothing is found out too late.
    """

    def __init__(self, trainer: gn.Trainer, data: Dataset, source: str | None) -> None:
        self.trainer, self.data, self.source = trainer, data, source
        if source is not None:
            self._read(source)

    def result(self) -> Found:
        """As the model is now."""
        if self.source is not None:
            truth, outputs = self._read(self.source)
            where = readable(self.source)
        elif len(self.data.test):
            truth, outputs = self._own(self.data.test)
            where = "the test rows"
        elif len(self.data.valid):
            truth, outputs = self._own(self.data.valid)
            where = "the validation rows, by which the epoch was chosen: others will do worse"
        else:
            return Found("no rows to test on", {})
        numbers = self._numbers(truth, outputs)
        if not np.isfinite(outputs).all():
            return Found(f"on {where}: outputs that are not finite", numbers)
        names = self.data.classes
        if names is None:
            return Found(f"on {where}: {metrics.number_report(truth, outputs)}", numbers)
        report = metrics.class_report(truth, outputs.argmax(axis=1), names)
        return Found(f"on {where}: {report}", numbers)

    def _numbers(self, truth: Any, outputs: Any) -> dict[str, Any]:
        """Nothing of validation rows: the summary has their loss and accuracy."""
        if self.source is None and not len(self.data.test):
            return {}
        if self.data.classes is None:
            measures = (metrics.r2, metrics.mae, metrics.rmse)
            return {f"test_{m.__name__}": m(truth, outputs) for m in measures}
        called = outputs.argmax(axis=1)
        matrix = metrics.confusion(truth, called, len(self.data.classes))
        f1 = float(metrics.scores(matrix).f1.mean())
        return {"test_accuracy": metrics.accuracy(truth, called), "test_f1": f1}

    def _own(self, rows: Split) -> tuple[Any, Any]:
        outputs = self.trainer.predict(rows.x)
        if self.data.classes is not None:
            return rows.t, outputs
        scale, shift = self.data.target_scale, self.data.target_shift
        return (a.reshape(len(rows), -1) * scale + shift for a in (rows.t, outputs))  # type: ignore

    def _read(self, source: str) -> tuple[Any, Any]:
        predictor = gn.Predictor(self.trainer.model, self.data)
        answers = predictor.answers(source, truth=True)
        return answers.truth, to_host(answers.outputs)

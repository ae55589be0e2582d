"""A trained network with what it needs to read raw rows and to answer in the data's own words."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from gpunet import metrics, notebook, saving, threads, where
from gpunet.backend import Array, array_module, to_device, to_host
from gpunet.context import no_grad
from gpunet.data import Dataset
from gpunet.data.description import Description
from gpunet.data.errors import DataError, unusable
from gpunet.data.rows import AT_ONCE, Block, check_lengths, counted, truths
from gpunet.data.scaling import rescale
from gpunet.data.sources import open_rows
from gpunet.data.targets import class_values
from gpunet.files import write_atomically
from gpunet.functional import softmax
from gpunet.fused.forward import Forward
from gpunet.layer import Layer
from gpunet.replay import Replayed


class Answers(NamedTuple):
    """What the network says of rows: its outputs (n, outputs), logits or unscaled numbers, where
    the rows are; what is true, on the host: labels int64 (n,) or float64 (n, outputs), None where
    that was not asked; and what the user should know, in lines.
    """

    outputs: Array
    truth: np.ndarray[Any, Any] | None
    notes: list[str]


class Predictor:
    """Takes raw rows, as the file has them that `model` was trained on, and predicts.

        predictor = gn.Predictor.load("gpunet-out/model.safetensors")
        predictor.predict("new.csv")

    Rows are an array (n, columns) of NumPy or CuPy, a DataFrame, a dict of columns, or the path of
    a file as `gpunet train` reads them. Columns with names are found by them, in any order; that
    which is predicted may be among them. Rows on the host are copied to the model's device in
    blocks; rows on a GPU stay there, and so does what is predicted. A chain of layers runs fused
    (`gpunet.fused.forward`), on a GPU as one CUDA graph from the second block of a shape on.
    Several threads may ask at once.

    Args:
        model: a Layer whose outputs are a logit for each class, or the target's numbers.
        data: the Dataset that it was trained on, or its `description()`.
    """

    def __init__(self, model: Layer, data: Dataset | Description) -> None:
        self.data = data.description() if isinstance(data, Dataset) else data
        self.model = model

    @property
    def model(self) -> Layer:
        """The network."""
        return self._forward.model

    @model.setter
    def model(self, model: Layer) -> None:
        self._forward = Forward(model)
        self._network, self._from_raw = Replayed(self._put_out), Replayed(self._of_raw)
        self._placed: dict[int, list[Any]] = {}  # numbers of `data`, by GPU

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew, from copies of the model and of its data's words."""
        return type(self), (self.model, self.data)

    @classmethod
    def load(cls, path: str | os.PathLike[str], layers: Iterable[type[Layer]] = ()) -> Predictor:
        """The predictor in a file that `gpunet train` or `save` wrote, on the CPU.

        Args:
            layers: classes of your own that the file may name.

        Raises:
            FileNotFoundError: no such file.
            ModelFileError: damaged, not written by gpunet, or without the description of its data.
        """
        model, words = saving.load_described(path, layers)
        if words is None:
            raise saving.unusable(
                path,
                "holds a network, but not how rows are prepared for it nor what its outputs mean: "
                "gn.load(path) gives the network; gn.Predictor(network, dataset).save(path) writes "
                "both, and so does `gpunet train`",
            )
        try:
            return cls(model.eval(), Description.from_words(words))
        except ValueError as error:
            raise saving.unusable(path, str(error)) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network and what describes its data, atomically, for `load` and `gn.load`.

        NotImplementedError, OSError: as `gn.save`.
        """
        write_atomically(path, saving.to_bytes(self.model, self.data.to_words()))

    def to(self, device: str) -> Predictor:
        """Move the network to "cpu" or "cuda"; returns the predictor."""
        self.model.to(device)
        return self

    @property
    def classes(self) -> np.ndarray[Any, Any] | None:
        """(K,): int64 where all classes are whole numbers, else text; None where it predicts
        numbers.
        """
        return None if self.data.classes is None else class_values(self.data.classes)

    def predict(self, x: Any) -> Array:
        """The class of each row (n,), one of `classes`, or its number (n,), float64 in the target's
        unit; (n, outputs) where there are several. On the device of an array x; but text is always
        NumPy's.

        DataError: rows that the network was not trained on the like of; the message says where.
        DeviceError: x is on another device than the model, which is on the CPU.
        """
        y, classes = self.answers(x).outputs, self.classes
        xp = array_module(y)
        if classes is None:
            return y[:, 0] if y.shape[1] == 1 else y
        bad = where.not_finite(y)  # a label cannot say so
        if bad is not None:
            raise DataError(f"x: row {bad[0]} (counted from 0) is not finite, or too far away")
        label = y.argmax(axis=1)
        if classes.dtype.kind == "U":
            return classes[to_host(label)]
        return xp.asarray(classes)[label]

    def predict_proba(self, x: Any) -> Array:
        """The probability of each class, float64 (n, K) in the order of `classes`, on the device of
        an array x. ValueError where numbers are predicted; other errors as of `predict`.
        """
        if self.data.classes is None:
            raise ValueError(f"this predicts {self.label}, a number: it has no probabilities")
        return self.probabilities(self.answers(x).outputs)

    def score(self, x: Any, t: Any = None) -> float:
        """The share of rows whose class is right, or R2 of numbers.

        t: what is true of x, class names or numbers in the target's unit; None where x is a file or
        a DataFrame that has it. Errors as of `predict`.
        """
        answers = self.answers(x, t, truth=True)
        assert answers.truth is not None
        y = to_host(answers.outputs)
        if self.data.classes is None:
            return metrics.r2(answers.truth, y)
        return metrics.accuracy(answers.truth, y.argmax(axis=1))

    def __repr__(self) -> str:
        return f"Predictor({self.data.plan})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the columns, and what becomes of them."""
        features = self.data.features or ()
        rows = [(f.name, f.kind, f.filling, ", ".join(f.values)) for f in features]
        plain = [(name, "number", "", "") for name in self.data.columns or ()]
        heads = ("column", "kind", "where missing", "names")
        return notebook.table(self.data.plan, heads, rows or plain)

    @property
    def label(self) -> str:
        """What is predicted."""
        return self.data.label or "prediction"

    @staticmethod
    def probabilities(outputs: Array) -> Array:
        """Of logits (n, K), float64."""
        with no_grad():
            return softmax(outputs.astype(np.float64)).data

    def answers(self, x: Any, t: Any = None, truth: bool = False) -> Answers:
        """What the network says of all rows, and with `truth` what is true of them: t, or what x
        has beside them. Errors as of `predict`.
        """
        rows = open_rows(x, self.data, truth and t is None)
        outputs: list[Array] = []
        true: list[Array] = []
        with threads.suited(self.model, AT_ONCE):
            for block in rows:
                outputs.append(self._outputs(block))
                true.append(block.t)
        if not outputs:
            raise unusable(rows.name, f"rows with {self.label}", "none", "it is what is compared")
        y = array_module(outputs[0]).concatenate(outputs)
        if t is not None:
            given = np.asarray(to_host(t))
            check_lengths([len(y), len(given)], "x and t")
            return Answers(y, truths(given, self.data, counted(0)), rows.notes)
        return Answers(y, np.concatenate(true) if truth else None, rows.notes)

    def _outputs(self, block: Block) -> Array:
        """Logits, or numbers in the target's unit, of some rows, where the rows are. Rows on a GPU
        are not looked at, for that would copy to the host: there nan in is nan out.
        """
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            if array_module(block.x) is not np:
                found: Array = self._from_raw(block.x)
                return found
            x = rescale(block.x, self.data.shift, self.data.scale)
            bad = where.not_finite(x)
            if bad is not None:
                raise self._not_finite(block, *bad)
            y = to_host(self._network(to_device(x, self.model.device)))
        bad = where.not_finite(y)
        if bad is not None:
            expected, found = "numbers like those of training", "some that make outputs overflow"
            raise unusable(block.place(bad[0]), expected, found, "mend or remove that row")
        return self._in_units(y, self.data.target_shift)

    def _put_out(self, x: Array) -> Array:
        """What the network makes of scaled rows. ValueError unless it fits the data."""
        y = self._forward(x)
        if y.shape[1:] != (self.data.outputs,):
            raise ValueError(
                f"the network has outputs of shape {y.shape[1:]}, its data {self.data.outputs}"
            )
        return y

    def _of_raw(self, x: Array) -> Array:
        """All of it for rows on a GPU, where nothing may come from the host."""
        xp = array_module(x)
        device = xp.cuda.get_device_id()
        if device not in self._placed:
            about = self.data
            numbers = about.shift, about.scale, about.target_shift
            self._placed[device] = [a if np.ndim(a) == 0 else xp.asarray(a) for a in numbers]
        shift, scale, target_shift = self._placed[device]
        return self._in_units(self._put_out(rescale(x, shift, scale, xp)), target_shift)

    def _in_units(self, y: Array, shift: Any) -> Array:
        """Numbers in the target's unit; logits as they are."""
        if self.data.classes is not None:
            return y
        return y.astype(np.float64) * self.data.target_scale + shift

    def _not_finite(self, block: Block, row: int, column: int) -> DataError:
        value = float(block.x[row, column])
        place = f"{block.place(row)}, column {self.data.inputs[column]!r}"
        if np.isnan(value):
            return unusable(
                place,
                "a number, for the network was trained without missing ones",
                "a missing value (or nan)",
                "fill it in or remove the row",
            )
        return unusable(
            place, "a number within float32's range once scaled", f"{value:g}", "mend that cell"
        )

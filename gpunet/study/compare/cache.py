"""Runs that were done before: one small JSON file each, named by what determines the run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from gpunet import threads
from gpunet.data import Dataset
from gpunet.files import read_file, sweep, write_atomically
from gpunet.study.compare.grid import Run, Setup
from gpunet.study.compare.runs import Result

FORMAT = 3  # raise it when a run is measured in another way
MOST = 1 << 24  # bytes; a run of 100,000 epochs takes less


def fingerprint(data: Dataset) -> str:
    """A hash of every row and target, and of whether the targets are classes."""
    digest = hashlib.sha256(repr(data.classes is None).encode())
    for part in (data.train, data.valid, data.test):
        for array in (part.x, part.t):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Cache:
    """The folder of the runs of one setup on one data set.

    A run is found again only if gpunet's and NumPy's version, the kernels of its BLAS, the data,
    the setup and all the optimizer's settings are the same.
    """

    def __init__(self, folder: Path, setup: Setup, data: Dataset) -> None:
        self.folder = folder
        self._keys: dict[Run, str] = {}
        self._common = {
            "format": FORMAT,
            "gpunet": gn.__version__,
            "numpy": np.__version__,
            "data": fingerprint(data),
            "kernels": threads.kernels() if setup.device == "cpu" else [],
            **dataclasses.asdict(setup),
            "hidden": list(setup.hidden),
        }
        sweep(os.fspath(folder), [])  # once: a look at all names a run would be quadratic

    def key(self, run: Run) -> str:
        if run not in self._keys:
            everything = {**self._common, "optimizer": repr(run.make()), "seed": run.seed}
            text = json.dumps(everything, sort_keys=True)
            self._keys[run] = hashlib.sha256(text.encode()).hexdigest()
        return self._keys[run]

    def path(self, run: Run) -> Path:
        return self.folder / f"{run.label}-{self.key(run)[:16]}.json"

    def load(self, run: Run) -> Result | None:
        """None if it was not run yet, or its file is not whole, to the last bit."""
        path = self.path(run)
        try:
            if path.stat().st_size > MOST:
                return None
            content = json.loads(read_file(path))
            told = content.pop("sha256")
            if told != _digest(content) or content["key"] != self.key(run):
                return None
            return _read(run, content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def store(self, result: Result) -> None:
        """Write it atomically, making the folder if need be. OSError if that cannot be done.

        Not what failed: the same command tries it again.
        """
        if result.failed:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {**vars(result), "run": dataclasses.asdict(result.run)}
        content = _no_inf({"key": self.key(result.run), **told})
        text = json.dumps({"sha256": _digest(content), **content}, allow_nan=False) + "\n"
        write_atomically(self.path(result.run), text.encode(), durable=False)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _no_inf(value: Any) -> Any:
    """JSON has no infinity: null instead."""
    if isinstance(value, dict):
        return {name: _no_inf(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_no_inf(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(run: Run, content: dict[str, Any]) -> Result:
    """ValueError, KeyError or TypeError unless it is what `store` wrote."""
    lists: dict[str, list[float] | None] = {
        name: None if content[name] is None else [_number(v) for v in content[name]]
        for name in ("train_loss", "valid_loss", "valid_accuracy", "seconds")
    }
    train, valid, seconds = (lists[n] or [] for n in ("train_loss", "valid_loss", "seconds"))
    accuracy = lists["valid_accuracy"]
    lengths = {len(one) for one in (train, valid, seconds, accuracy) if one is not None}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError("curves of different lengths")
    bad, test_loss, test_accuracy = (
        content[n] for n in ("nonfinite", "test_loss", "test_accuracy")
    )
    return Result(
        run=run,
        train_loss=train,
        valid_loss=valid,
        valid_accuracy=accuracy,
        seconds=seconds,
        test_loss=None if test_loss is None else float(test_loss),
        test_accuracy=None if test_accuracy is None else float(test_accuracy),
        nonfinite=None if bad is None else (int(bad[0]), int(bad[1]), str(bad[2])),
    )


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)

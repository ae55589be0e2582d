"""What a training was like: one row an epoch."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import Any

from gpunet import notebook
from gpunet.files import write_atomically

Row = dict[str, Any]


class History:
    """Rows of {"epoch", "train_loss", "valid_loss", "valid_accuracy", "lr", "seconds"}.

    `history["train_loss"]` is that column as a list (None where an epoch lacks it).

    train_loss: the mean over the rows as they were trained on, so each batch before its update.
    lr: of the epoch's first update, None for COCOB. seconds: of the epoch, validation included.
    stopped: why training ended. kept: the epoch whose weights the model ended with.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.stopped = "not started"
        self.kept: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        if self.rows and column not in self.columns:
            raise KeyError(f"no column {column!r}; there are {', '.join(self.columns)}")
        return [row.get(column) for row in self.rows]

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={_short(v)}" for k, v in self.rows[-1].items()) if self.rows else ""
        epochs = "1 epoch" if len(self) == 1 else f"{len(self)} epochs"
        return f"History({epochs}, {self.stopped}{'; last: ' + last if last else ''})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the losses as curves, and the first, best and last epoch."""
        losses: dict[str, list[Any]] = {
            name: self[name] for name in ("train_loss", "valid_loss") if name in self.columns
        }
        epochs = {1, self.best_epoch, self.kept, len(self)}
        rows = [[r.get(name) for name in self.columns] for r in self.rows if r["epoch"] in epochs]
        kept = "" if self.kept is None else f", the weights are those of epoch {self.kept}"
        caption = f"{len(self)} epochs: {self.stopped}{kept}"
        curves = notebook.chart(self["epoch"], losses) if self.rows else ""
        return curves + notebook.table(caption, self.columns, rows)

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def best_epoch(self) -> int | None:
        """The epoch (from 1) of `best`."""
        return self.best.get("epoch")

    @property
    def best(self) -> Row:
        """The row with the lowest validation loss, training loss without one; empty before any."""
        name = "valid_loss" if "valid_loss" in self.columns else "train_loss"
        rows = [row for row in self.rows if math.isfinite(row.get(name, math.nan))]
        return min(rows, key=lambda row: row[name], default={})

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `to_csv()` atomically."""
        write_atomically(path, self.to_csv())

    def to_csv(self) -> bytes:
        """The rows as a CSV file with a header line."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue().encode()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

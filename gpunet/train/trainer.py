"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpunet import checked, progress
from gpunet.checked import Checked
from gpunet.fused.step import Step
from gpunet.layer import Layer
from gpunet.layers import BatchNorm
from gpunet.loss import as_loss
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor
from gpunet.train.callbacks import Callback, EarlyStopping
from gpunet.train.evaluation import evaluate
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups
from gpunet.train.guard import Guard
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.loop import Loop
from gpunet.train.updates import updating

BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}{postfix}"


class Trainer:
    """Trains `model` by mini-batches.

    Args:
        model: a Layer; data is moved to its device.
        loss: called as loss(prediction, target), such as `SoftmaxWithLoss()`; one number, the mean
            over the batch (or a `MeanSquaredError("half_sum")`).
        optimizer: made with `model.parameters()`; its lr may be a schedule.
        callbacks: such as `EarlyStopping()`; see `Callback`.
        on_nonfinite: when loss or parameters become infinite or nan. "raise" stops with a
            `NonFiniteError` that names epoch, step and layer, the model back at the state before
            that step; "warn" warns once and trains on; "ignore" does not look.
        progress: show a bar (None: in a terminal and in a notebook).
        fuse: run a plain chain of layers under SoftmaxWithLoss fused; see `gpunet.Step`.
        capture: on a GPU, run the step as a CUDA graph. "auto": where the model is
            fused and the data lies on the GPU; if CUDA does not capture it, kernel by kernel, with
            one warning. True: with layers and losses of your own too, whose Python code then runs
            twice in all, not once a step; from `fit`, ValueError where it cannot be had and
            RuntimeError if CUDA does not capture it. False: never. Without a GPU it makes no
            difference.

    history: of every epoch so far; a second `fit` continues it.
    """

    loss = Checked(lambda value, _: as_loss(value))
    on_nonfinite = Checked(checked.one_of("raise", "warn", "ignore"))
    capture = Checked(checked.one_of(True, False, "auto"))

    def __init__(
        self,
        model: Layer,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer,
        callbacks: Iterable[Callback] = (),
        *,
        on_nonfinite: str = "raise",
        progress: bool | None = None,
        fuse: bool = True,
        capture: bool | str = "auto",
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.fuse, self.capture = bool(fuse), capture
        self.callbacks = list(callbacks)
        self.on_nonfinite = on_nonfinite
        self.progress = progress
        self.history = History()

    def fit(
        self,
        train: Any,
        valid: Any = None,
        epochs: int = 10,
        batch_size: int | None = 32,
        seed: int | None = 0,
        *,
        accumulate: int = 1,
        drop_last: bool = False,
        stream: bool | None = None,
    ) -> History:
        """Train, and return the history (also as `trainer.history`).

        Called again it continues: two fits of 5 epochs are one of 10, early stopping aside.

        Args:
            train, valid: (x, t) or an object with .x and .t; one row a sample.
            epochs: passes over the data.
            batch_size: rows a step; None takes all rows at once, 1 single samples.
            seed: of the shuffling, the same on every platform; a new order each epoch. None keeps
                the rows in their order.
            accumulate: gradients of this many batches make one update, as one large batch would.
            drop_last: leave out a last batch that is smaller. (One of a single row is left out in
                any case if the model has a BatchNorm.)
            stream: on a GPU, leave the training data on the host and copy it batch by batch. None
                does so where it would fill more than half of the free memory.

        Ctrl-C ends the training after the running step: the history so far is returned, with the
        weights of the best epoch if there is validation data. A second Ctrl-C interrupts at once.

        Raises:
            ValueError, TypeError: data or settings that do not fit, before anything is changed.
            NonFiniteError: see `on_nonfinite`.
        """
        checked.size(epochs, "epochs")
        checked.size(accumulate, "accumulate")
        self._check_optimizer()
        feed = Feed(train, self.model, self.loss, "train", stream)
        held_out = None if valid is None else Feed(valid, self.model, self.loss, "valid")
        callbacks = self._callbacks(held_out)
        groups = Groups(feed, batch_size, seed, accumulate, drop_last, self._least_rows())
        step = Step(self.model, self.loss, self.optimizer, fuse=self.fuse)
        updates = updating(step, feed, self.capture)
        guard = Guard(step, feed, self.on_nonfinite)
        self.history.stopped, self.history.kept = "stopped by an error", None
        for callback in callbacks:
            callback.on_start(self)
        # The guard tells of overflow; NumPy's own warnings name neither step nor layer.
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with DeferredInterrupt() as interrupt, self._bar(epochs * groups.size) as bar, quiet:
            loop = Loop(updates, guard, bar, interrupt)
            reason = self._epochs(epochs, groups, loop, held_out, callbacks)
        self.history.stopped = "interrupted" if interrupt.requested else reason
        for callback in callbacks:
            callback.on_end(self, interrupt.requested)
        return self.history

    def evaluate(self, data: Any) -> dict[str, float]:
        """{"loss": mean over the rows} and, for classes, "accuracy", in evaluation mode."""
        return evaluate(self.model, self.loss, Feed(data, self.model, self.loss, "data"))

    # Before training

    def _check_optimizer(self) -> None:
        lost = next((arena.stale for arena in self.optimizer.arenas if arena.stale), None)
        if lost:
            raise ValueError(f"the optimizer lost its parameters: {lost}; make a new one")
        trained = map(id, self.optimizer.parameters)
        if set(map(id, self.model.parameters())).isdisjoint(trained):
            raise ValueError(
                "the optimizer trains none of the model's parameters; make it with "
                "model.parameters()"
            )

    def _callbacks(self, held_out: Feed | None) -> list[Callback]:
        """The user's; with validation data also one that keeps the best weights for Ctrl-C."""
        if held_out is None:
            for callback in self.callbacks:
                if callback.needs_valid:
                    name = type(callback).__name__
                    raise ValueError(f"{name} needs validation data: fit(train, valid, ...)")
        elif not any(isinstance(c, EarlyStopping) for c in self.callbacks):
            return [*self.callbacks, EarlyStopping(None, restore_best=False)]
        return self.callbacks

    def _least_rows(self) -> int:
        """Rows that a batch must have: a BatchNorm cannot make statistics of one."""
        layers = [self.model, *(layer for _, layer in self.model.named_layers())]
        return 2 if any(isinstance(k, BatchNorm) for k in layers) else 1

    # Epochs

    def _epochs(
        self,
        epochs: int,
        groups: Groups,
        loop: Loop,
        held_out: Feed | None,
        callbacks: list[Callback],
    ) -> str:
        """Train for so many more epochs; why it ended."""
        first = len(self.history) + 1
        last = first + epochs - 1
        for epoch in range(first, last + 1):
            loop.bar.set_description_str(f"epoch {epoch}/{last}", refresh=False)
            row = self._epoch(epoch, groups, loop, held_out)
            if row is None:
                break
            self.history.rows.append(row)
            self.history.kept = epoch
            loop.bar.set_postfix_str(_shown(row), refresh=False)
            reasons = [reason for c in callbacks if (reason := c.on_epoch(self, row))]
            if reasons or loop.interrupt.requested:
                return reasons[0] if reasons else ""
        return "all epochs done"

    def _epoch(self, epoch: int, groups: Groups, loop: Loop, held_out: Feed | None) -> Row | None:
        """Its row of the history; None if Ctrl-C ended it early."""
        started, lr = time.perf_counter(), self.optimizer.current_lr()
        self.model.train()
        loss = loop.run(groups.of(epoch - 1), epoch)
        if loss is None:
            return None
        row: Row = {"epoch": epoch, "train_loss": loss}
        if held_out is not None:
            found = evaluate(self.model, self.loss, held_out)
            row |= {f"valid_{name}": value for name, value in found.items()}
        row |= {"lr": None if math.isnan(lr) else lr, "seconds": time.perf_counter() - started}
        return row

    def _bar(self, total: int) -> Any:
        return progress.bar(total, self.progress, dynamic_ncols=True, bar_format=BAR_FORMAT)


def _shown(row: Row) -> str:
    """The row as the bar has room for it."""
    parts = [f"loss {row['train_loss']:.3g}"]
    if "valid_loss" in row:
        parts.append(f"valid {row['valid_loss']:.3g}")
    if "valid_accuracy" in row:
        parts.append(f"{row['valid_accuracy']:.1%} right")
    return ", ".join(parts)

"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.context import no_grad
from gpunet.data import batches
from gpunet.fused.step import Step
from gpunet.layer import Layer
from gpunet.layers import BatchNorm
from gpunet.loss import Loss, as_loss
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor
from gpunet.train.callbacks import Callback, EarlyStopping
from gpunet.train.feed import Feed, Group
from gpunet.train.guard import Guard
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.updates import AT_ONCE as CHECK_EVERY
from gpunet.train.updates import ResidentUpdates, Updates, updating

EVALUATION_ROWS = 1024
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
        progress: show a bar (None: if stderr is a terminal).
        fuse: run a plain chain of layers under SoftmaxWithLoss fused; see `gpunet.Step`.
        capture: on a GPU, record the step as a CUDA graph and replay it. "auto": where the model is
            fused and the data lies on the GPU. True: with layers and losses of your own too, whose
            Python code then runs twice in all, not once a step; ValueError from `fit` where it
            cannot be had. False: never. Without a GPU it makes no difference.

    history: of every epoch so far; a second `fit` continues it.
    """

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
        if on_nonfinite not in ("raise", "warn", "ignore"):
            raise ValueError(
                f'on_nonfinite must be "raise", "warn" or "ignore", got {on_nonfinite!r}'
            )
        if capture not in (True, False, "auto"):
            raise ValueError(f'capture must be True, False or "auto", got {capture!r}')
        self.model, self.optimizer = model, optimizer
        self.loss: Loss = as_loss(loss)
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
        _need_positive(epochs, "epochs")
        _need_positive(accumulate, "accumulate")
        self._check_optimizer()
        feed = Feed(train, self.model, self.loss, "train", stream)
        held_out = None if valid is None else Feed(valid, self.model, self.loss, "valid")
        callbacks = self._callbacks(held_out)
        first = len(self.history) + 1
        last = first + epochs - 1

        def order(epoch: int) -> list[np.ndarray[Any, Any]]:
            rows = batches(len(feed), batch_size, seed, epoch - 1, drop_last)
            return self._trainable(list(rows))

        steps = len(order(first))
        step = Step(self.model, self.loss, self.optimizer, fuse=self.fuse)
        updates = updating(step, feed, self.capture)
        guard = Guard(self)
        reason: str | None = None
        self.history.stopped, self.history.kept = "stopped by an error", None
        for callback in callbacks:
            callback.on_start(self)
        # The guard tells of overflow; NumPy's own warnings name neither step nor layer.
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with DeferredInterrupt() as interrupt, self._bar(epochs * steps) as bar, quiet:
            for epoch in range(first, last + 1):
                bar.set_description_str(f"epoch {epoch}/{last}", refresh=False)
                started, lr = time.perf_counter(), self.optimizer.current_lr()
                rows = feed.moved(order(epoch))
                groups = [rows[k : k + accumulate] for k in range(0, len(rows), accumulate)]
                loss = self._epoch(updates, groups, epoch, guard, bar, interrupt)
                if loss is None:
                    break
                row: Row = {"epoch": epoch, "train_loss": loss}
                if held_out is not None:
                    found = self._evaluate(held_out)
                    row |= {f"valid_{name}": value for name, value in found.items()}
                row |= {"lr": None if math.isnan(lr) else lr}
                row |= {"seconds": time.perf_counter() - started}
                self.history.rows.append(row)
                self.history.kept = epoch
                bar.set_postfix_str(_shown(row), refresh=False)
                reasons = [callback.on_epoch(self, row) for callback in callbacks]
                reason = next((r for r in reasons if r), None)
                if reason or interrupt.requested:
                    break
        if interrupt.requested:
            reason = "interrupted"
        self.history.stopped = reason or "all epochs done"
        for callback in callbacks:
            callback.on_end(self, interrupt.requested)
        return self.history

    def evaluate(self, data: Any) -> dict[str, float]:
        """{"loss": mean over the rows} and, for classes, "accuracy", in evaluation mode."""
        return self._evaluate(Feed(data, self.model, self.loss, "data"))

    # Before training

    def _check_optimizer(self) -> None:
        arenas = self.optimizer.arenas
        lost = next((arena.stale for arena in arenas if arena.stale), None)
        if lost:
            raise ValueError(f"the optimizer lost its parameters: {lost}; make a new one")
        own = {id(p) for p in self.model.parameters()}
        trained = {id(p) for a in arenas for part in a.ranges for p, _ in a.places_in(part)}
        if not own & trained:
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

    def _trainable(self, rows: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Without a last batch of one row, of which a BatchNorm cannot make statistics."""
        layers = [self.model, *(layer for _, layer in self.model.named_layers())]
        if len(rows[-1]) > 1 or not any(isinstance(k, BatchNorm) for k in layers):
            return rows
        if len(rows[0]) == 1:
            raise ValueError(
                "BatchNorm needs at least 2 rows a batch; give a larger batch_size, or more data"
            )
        return rows[:-1]

    # One epoch

    def _epoch(
        self,
        updates: Updates | ResidentUpdates,
        groups: Sequence[Group],
        epoch: int,
        guard: Guard,
        bar: Any,
        interrupt: DeferredInterrupt,
    ) -> float | None:
        """All updates of an epoch; the mean loss over its rows, read once at the end. None if
        Ctrl-C ended it early.
        """
        self.model.train()
        done = batches = checked = 0
        with closing(updates.run(groups)) as running:
            for count in running:
                for group in groups[done : done + count]:
                    done += 1
                    batches += len(group)
                    guard.saw(updates.feed, group, epoch, done)
                    bar.update(len(group))
                if done - checked >= CHECK_EVERY or done == len(groups) or interrupt.requested:
                    guard.check(updates.losses[:batches])
                    checked = done
                if interrupt.requested and done < len(groups):
                    return None
        return self.loss.mean(updates.losses[:batches], updates.weights)

    # Evaluation

    def _evaluate(self, feed: Feed) -> dict[str, float]:
        loss, xp = self.loss, feed.xp
        parts = [slice(k, k + EVALUATION_ROWS) for k in range(0, len(feed), EVALUATION_ROWS)]
        values, weights = (xp.zeros(len(parts), np.float64) for _ in range(2))
        hits: list[Array | None] = []
        with (
            self.model.evaluating(),
            no_grad(),
            np.errstate(over="ignore", invalid="ignore"),
            closing(feed.batches(parts)) as batches_of_rows,
        ):
            for k, (x, t) in enumerate(batches_of_rows):
                z = self.model(x)
                values[k], weights[k] = loss(z, t).data, loss.weight(t)
                hits.append(loss.hits(z.data, t))
        found = {"loss": loss.mean(values, weights)}
        right = [count for count in hits if count is not None]
        return found | {"accuracy": float(sum(right)) / len(feed)} if right else found

    def _bar(self, total: int) -> Any:
        from tqdm import tqdm

        hide = None if self.progress is None else not self.progress
        return tqdm(
            total=total, disable=hide, leave=False, dynamic_ncols=True, bar_format=BAR_FORMAT
        )


def _shown(row: Row) -> str:
    """The row as the bar has room for it."""
    parts = [f"loss {row['train_loss']:.3g}"]
    if "valid_loss" in row:
        parts.append(f"valid {row['valid_loss']:.3g}")
    if "valid_accuracy" in row:
        parts.append(f"{row['valid_accuracy']:.1%} right")
    return ", ".join(parts)


def _need_positive(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")

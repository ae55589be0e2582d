"""The training loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpunet import checked, progress
from gpunet.backend import Array
from gpunet.checked import Checked
from gpunet.files import write_atomically
from gpunet.fused.step import Step, as_optimizer
from gpunet.layer import Layer
from gpunet.layers import BatchNorm
from gpunet.loss import as_loss
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor, as_array
from gpunet.train import state
from gpunet.train.callbacks import Callback, EarlyStopping
from gpunet.train.evaluation import evaluate, outputs
from gpunet.train.feed import Feed, weighted
from gpunet.train.fit import Fit
from gpunet.train.groups import Groups
from gpunet.train.guard import Guard
from gpunet.train.history import History
from gpunet.train.interrupt import DeferredInterrupt
from gpunet.train.loop import Loop
from gpunet.train.phased import in_phases
from gpunet.train.progress import Progress
from gpunet.train.resume import end, enter, plan_of, wake
from gpunet.train.snapshot import Snapshot
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
        fuse: run a plain chain of layers fused, under SoftmaxWithLoss in training; see
            `gpunet.Step`.
        capture: on a GPU, run the step as a CUDA graph. "auto": where the model is
            fused and the data lies on the GPU; if CUDA does not capture it, kernel by kernel, with
            one warning. True: with layers and losses of your own too, whose Python code then runs
            twice in all, not once a step; from `fit`, ValueError where it cannot be had and
            RuntimeError if CUDA does not capture it. False: never. Without a GPU it makes no
            difference.
        phases: on a GPU, run the step of a small network in few kernels of gpunet's own. "auto":
            where it fits and epochs are long. True: ValueError from `fit`, with the reason, where
            it does not fit. False: never.
        resumable: False takes no fingerprint of the data, for which up to 4 MB of each array are
            read back from a GPU; an epoch that was stopped is then not gone on with.

    history: of every epoch so far; a second `fit` continues it. how: in what way the last fit ran,
    and why not in a faster one.

    Copies and pickles are independent twins that go on bit for bit; `save` and `load` do the same
    through a file: docs/training.md.
    """

    loss = Checked(lambda value, _: as_loss(value))
    optimizer = Checked(lambda value, _: as_optimizer(value))
    on_nonfinite = Checked(checked.one_of("raise", "warn", "ignore"))
    capture = Checked(checked.one_of(True, False, "auto"))
    phases = Checked(checked.one_of(True, False, "auto"))

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
        phases: bool | str = "auto",
        resumable: bool = True,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.fuse, self.capture, self.resumable = bool(fuse), capture, resumable
        self.phases, self.how = phases, "not trained yet"
        self.callbacks = list(callbacks)
        self.on_nonfinite = on_nonfinite
        self.progress = progress
        self.history = History()
        # See state.Resumable
        self.made_with: dict[str, Any] | None = None
        self.plan: dict[str, Any] | None = None
        self.bound, self.earlier = False, 0
        self.unfinished: Progress | None = None
        self._fit: Fit | None = None  # that runs

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
        weight: Any = None,
    ) -> History:
        """Train, and return the history (also as `trainer.history`).

        Called again it continues: two fits of 5 epochs are one of 10, early stopping aside. After a
        fit that was stopped, by Ctrl-C or an error, the next one with the same data and settings
        begins with the rest of its epoch. After `load` it is the fit that was under way that ends:
        `epochs` are those of the whole.

        Args:
            train, valid: (x, t), (x, t, weight) or an object with .x and .t; one row a sample.
            epochs: passes over the data.
            batch_size: rows a step; None takes all rows at once, 1 single samples.
            seed: of the shuffling, the same on every platform; a new order each epoch. None keeps
                the rows in their order.
            accumulate: gradients of this many batches make one update, as one large batch would.
            drop_last: leave out a last batch that is smaller. (One of a single row is left out in
                any case if the model has a BatchNorm.)
            stream: on a GPU, leave the training data on the host and copy it batch by batch. None
                does so where it would fill more than half of the free memory.
            weight: (rows,), what each training row counts in the loss: a batch's is
                sum(w l) / sum(w). Rows of weight 0 are left out, as if they were not there.

        Ctrl-C, SIGTERM or SIGHUP ends the training after the running step: the history so far is
        returned, with the weights of the best epoch if there is validation data. A second Ctrl-C
        interrupts at once.

        Raises:
            ValueError, TypeError: data or settings that do not fit, or are not those of the
                training that was loaded, before anything is changed.
            NonFiniteError: see `on_nonfinite`.

        After an error history and weights are those of the last good update; of an error inside an
        update, in a layer of your own, say, those of at most 50 updates before it.
        """
        checked.size(epochs, "epochs")
        checked.size(accumulate, "accumulate")
        self._check_optimizer()
        train = weighted(train, weight, "train")
        feed = Feed(train, self.model, self.loss, "train", stream, rows=batch_size)
        feed.check_scale(self.loss)
        held_out = None if valid is None else Feed(valid, self.model, self.loss, "valid")
        callbacks = self._callbacks(held_out)
        groups = Groups(feed, batch_size, seed, accumulate, drop_last, self._least_rows())
        step = Step(self.model, self.loss, self.optimizer, fuse=self.fuse)
        updates = updating(step, feed, self.capture, groups.accumulates)
        why_not = in_phases(updates, groups, self.phases)
        settings = {"batch_size": batch_size, "seed": seed, "accumulate": accumulate}
        plan: dict[str, Any] = {}
        if self.resumable:
            plan = plan_of(train, valid, callbacks, **settings, drop_last=drop_last)
        begun = enter(self, plan, groups, epochs)
        self.history.stopped = "stopped by an error"
        self.history.kept = len(self.history) or None if begun.trained else None
        for callback in callbacks:
            callback.on_start(self)
        wake(self, begun, callbacks)
        guard = Guard(step, feed, self.on_nonfinite)
        # The guard tells of overflow; NumPy's own warnings name neither step nor layer.
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        last = begun.first + epochs - 1
        with DeferredInterrupt() as interrupt, self._bar(begun, last, groups) as bar, quiet:
            loop = Loop(updates, guard, bar, interrupt)
            self._fit = Fit(self, begun, groups, held_out, callbacks, loop, updates.captures)
            try:
                with self._fit.kept():
                    reason = self._fit.run(last)
            finally:
                self._fit, self.how = None, updates.how + why_not
        self.history.stopped = "interrupted" if interrupt.requested else reason
        end(self, callbacks, interrupt.requested)
        return self.history

    def snapshot(self) -> Snapshot:
        """A copy of the model's numbers, for a callback to go back to later. In an ensemble it is
        taken when the callback has returned.
        """
        return Snapshot(self.model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the training depends on to one file, atomically, with a checksum.

        At any time: before and after a fit, and in one from a callback (see `Checkpoint`).

        Raises:
            TypeError: a callback's state, or a column of the history, that a file cannot hold.
            OSError: the folder is missing or not writable.
        """
        write_atomically(path, state.to_bytes(self))

    def load(self, path: str | os.PathLike[str], *, strict: bool = True) -> None:
        """Go on with the training that `save` or a `Checkpoint` wrote, bit for bit.

        The trainer is made as that one was: a model, a loss, an optimizer (with its schedule) and
        callbacks with the same settings. Then call `fit` as that one was called. The generator
        behind `gpunet.seed` goes on as well.

        Args:
            strict: False lets settings and data differ: the trainer's own settings hold, and under
                another plan (data, batch_size, ...) an unfinished epoch begins anew.

        Raises:
            FileNotFoundError, ModelFileError: no such file; one that is damaged, or no training.
            ValueError: other settings, or a model or an optimizer that it does not fit; the message
                names the difference. Nothing is changed then.

        RuntimeWarning where versions, BLAS, its threads or the device are others: the last bits of
        numbers depend on them.
        """
        state.load_into(self, path, strict)

    def rested(self) -> Progress | None:
        """The fit under way, or the one that was stopped, in plain data."""
        return self.unfinished if self._fit is None else self._fit.rested()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "unfinished": self.rested(), "_fit": None}

    def evaluate(self, data: Any) -> dict[str, float]:
        """{"loss": mean over the rows} and, for classes, "accuracy", in evaluation mode."""
        feed = Feed(data, self.model, self.loss, "data")
        return evaluate(self.model, self.loss, feed, self.fuse)

    def predict(self, x: Any) -> Array:
        """The model's outputs for the rows of x (n, features), in evaluation mode: logits, or
        numbers as the targets were; an array on x's device.
        """
        return outputs(self.model, as_array(x), self.fuse)

    # Before training

    def _check_optimizer(self) -> None:
        if self.optimizer is None:
            raise TypeError("the trainer has no optimizer; trainer.optimizer = gn.Adam(...)")
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

    def _bar(self, done: Progress, last: int, groups: Groups) -> Any:
        return progress.bar(
            (last - done.first + 1) * groups.size,
            self.progress,
            initial=(done.epoch - done.first) * groups.size + done.batches,
            dynamic_ncols=True,
            bar_format=BAR_FORMAT,
        )

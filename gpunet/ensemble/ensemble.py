"""Ensemble: n networks of one shape, trained in one step."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Any

import numpy as np

from gpunet import checked, notebook, progress
from gpunet.backend import Array, array_module, module_for
from gpunet.checked import Checked
from gpunet.data.order import integer
from gpunet.ensemble import committee, ranking, saving
from gpunet.ensemble.fit import Fit
from gpunet.ensemble.members import (
    Make,
    Member,
    each,
    make,
    optimizer_class,
    set_dropout,
    settings_of,
)
from gpunet.ensemble.stack import check_alike
from gpunet.files import write_atomically
from gpunet.layer import Layer
from gpunet.layers import BatchNorm
from gpunet.loss import SoftmaxWithLoss, as_loss
from gpunet.optim import Optimizer
from gpunet.tensor import Tensor, as_array
from gpunet.train.callbacks import Callback, EarlyStopping
from gpunet.train.evaluation import evaluate, outputs
from gpunet.train.feed import Feed
from gpunet.train.groups import Groups
from gpunet.train.history import History, Row
from gpunet.train.interrupt import DeferredInterrupt

BAR_FORMAT = "{desc} {percentage:3.0f}%|{bar:10}| {elapsed}<{remaining}"


class Ensemble:
    """n networks of one shape, trained in one step: products of all models are one call, and so is
    the update of their optimizers.

        ensemble = gn.Ensemble(gn.MLP([64, 100, 10]), 8, lr=np.geomspace(1e-4, 1e-1, 8))
        ensemble.fit(data.train, data.valid, epochs=20)
        best = ensemble.models[ensemble.best]

    Each is trained as it would be alone: model k is what `gn.seed(seeds[k])` and the same lines
    make, and `Trainer.fit(..., seed=seeds[k])` trains. On a CPU without a compiler and with one the
    numbers are those of that training to the last bit (with a loss or on a device that is not
    fused, to rounding).

    Args:
        model: a chain of Affine, BatchNorm, activations, Dropout and Rescale, drawn anew for every
            seed; or a function that makes one.
        n: how many.
        optimizer: a class such as gn.Adam, or its name.
        loss: as for a `Trainer`; one of your own must keep leading axes apart.
        seeds: of initial weights, dropout masks and the order of the rows: one for each, or one
            for all. None: 0 to n - 1.
        dropout: the p of every Dropout in a model, one for each.
        device: "cpu" or "cuda".
        callbacks: as for a `Trainer`; every model has copies of its own.
        on_nonfinite: "stop" ends the training of a model whose numbers become infinite or nan, at
            its state before that step, as its history and `errors` tell; "ignore" does not look.
        phases: as for a `Trainer`: on a GPU, small networks in few kernels of gpunet's own.
        progress: show a bar (None: in a terminal and in a notebook).
        settings: the optimizer's by name, `lr` and `weight_decay` say: one for all, or a list with
            one for each model (`betas` and the like: a list of pairs).

    models, optimizers, histories: of each, in order. They are plain models and optimizers, to be
        saved, or trained on alone; their numbers are rows of common arrays.
    given: what each was given that not all have alike, as dicts, with its seed.
    how: how the updates of the last `fit` ran, in words, and why not faster.

    Raises:
        TypeError: an unknown optimizer or setting.
        ValueError: a list of another length, a setting outside its range, models that are no such
            chains, or not of one shape.
    """

    on_nonfinite = Checked(checked.one_of("stop", "ignore"))
    phases = Checked(checked.one_of(True, False, "auto"))

    def __init__(
        self,
        model: Layer | Make,
        n: int,
        optimizer: str | type[Optimizer] = "adam",
        loss: Callable[[Any, Any], Tensor] | None = None,
        *,
        seeds: int | Sequence[int] | None = None,
        dropout: float | Sequence[float] | None = None,
        device: str = "cpu",
        callbacks: Iterable[Callback] = (),
        on_nonfinite: str = "stop",
        phases: bool | str = "auto",
        progress: bool | None = None,
        **settings: Any,
    ) -> None:
        count = checked.size(n, "n")
        kind = optimizer_class(optimizer)
        module_for(device)
        self.on_nonfinite, self.phases = on_nonfinite, phases
        self.progress, self.how = progress, ""
        self.loss = as_loss(SoftmaxWithLoss() if loss is None else loss)
        own = settings_of(kind, settings, count)
        numbers = each("seeds", range(count) if seeds is None else seeds, count)
        self.seeds = [integer("each of seeds", seed, 0, 2**64) for seed in numbers]
        shares = None if dropout is None else each("dropout", dropout, count)
        self.models = [make(model, seed).to(device) for seed in self.seeds]
        check_alike(self.models)
        if shares is not None:
            set_dropout(self.models, shares)
        self.optimizers = [
            kind(model.parameters(), **one) for model, one in zip(self.models, own, strict=True)
        ]
        if (
            len({optimizer.kernel.options(optimizer.groups[0]) for optimizer in self.optimizers})
            > 1
        ):
            raise ValueError(
                f"some of the models' {kind.__name__} keep states that others do not; make an "
                "ensemble for each of them"
            )
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if type(callback).on_update is not Callback.on_update:
                raise ValueError(
                    f"{type(callback).__name__} looks on between updates, which an ensemble has "
                    "none of that are one model's"
                )
        known = {name: [one[name] for one in own] for name in settings}
        known |= {} if shares is None else {"dropout": shares}
        varied = {name: v for name, v in known.items() if any(one != v[0] for one in v)}
        self.given = [
            {"seed": seed, **{name: values[k] for name, values in varied.items()}}
            for k, seed in enumerate(self.seeds)
        ]
        parts = zip(self.models, self.optimizers, self.seeds, self.given, strict=True)
        self._members = [
            Member(model, optimizer, self.loss, seed, given)
            for model, optimizer, seed, given in parts
        ]

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        sizes = sum(p.size for p in self.models[0].parameters())
        kind = type(self.optimizers[0]).__name__
        return f"Ensemble({len(self)} models of {sizes:,} parameters, {kind})"

    @property
    def histories(self) -> list[History]:
        """Of each model, as a `Trainer` has one; seconds are its share of the epoch's."""
        return [member.history for member in self._members]

    @property
    def errors(self) -> list[Any]:
        """The NonFiniteError that ended a model's training, or None, of each."""
        return [member.error for member in self._members]

    @property
    def scores(self) -> list[float]:
        """The lowest validation loss of each (the training loss without validation data), inf
        before any.
        """
        rows = [history.best for history in self.histories]
        return [row.get("valid_loss" if "valid_loss" in row else "train_loss", inf) for row in rows]

    @property
    def best(self) -> int:
        """The number of the model with the lowest score."""
        return min(range(len(self)), key=self.scores.__getitem__)

    def fit(
        self,
        train: Any,
        valid: Any = None,
        epochs: int = 10,
        batch_size: int | None = 32,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
    ) -> list[History]:
        """Train all, and return the histories. Called again it continues, as a `Trainer` does; so
        do those that had stopped.

        Args:
            train, valid, epochs, batch_size, drop_last: as for `Trainer.fit`.
            shuffle: each in an order of its own, by its seed; False: as the rows lie.

        Ctrl-C ends the training after the running step, with the best weights of each model if
        there is validation data.

        Raises:
            ValueError, TypeError: data or settings that do not fit, before anything is changed;
                data with weights of rows.
        """
        checked.size(epochs, "epochs")
        first = self.models[0]
        feed = Feed(train, first, self.loss, "train", rows=batch_size)
        if feed.weight is not None:
            raise ValueError("an ensemble takes no weights of rows; use a Trainer for each model")
        feed.check_scale(self.loss)
        held_out = None if valid is None else Feed(valid, first, self.loss, "valid")
        least = 2 if any(isinstance(k, BatchNorm) for _, k in first.named_layers()) else 1
        seeds = [seed if shuffle else None for seed in self.seeds]
        groups = Groups(feed, batch_size, seeds[0], 1, drop_last, least)
        self._start(held_out)
        quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        total = epochs * groups.size
        bar = progress.bar(total, self.progress, dynamic_ncols=True, bar_format=BAR_FORMAT)
        with DeferredInterrupt() as interrupt, bar, quiet:
            check = self.on_nonfinite == "stop"
            running = Fit(
                self._members, feed, held_out, groups, seeds, check, bar, interrupt, self.phases
            )
            self.how = running.updates.how
            running.run(epochs)
            self.how = running.updates.how
        return self.histories

    def _start(self, held_out: Feed | None) -> None:
        """Each with callbacks of its own, those of the `Trainer` among them."""
        callbacks = self.callbacks
        if held_out is None:
            for callback in callbacks:
                if callback.needs_valid:
                    name = type(callback).__name__
                    raise ValueError(f"{name} needs validation data: fit(train, valid, ...)")
        elif not any(isinstance(c, EarlyStopping) for c in callbacks):
            callbacks = [*callbacks, EarlyStopping(None, restore_best=False)]
        for member in self._members:
            member.callbacks, member.error = copy.deepcopy(callbacks), None
            member.history.stopped = "stopped by an error"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write models, optimizers' states and histories to one file, atomically, between two fits.
        A single model is `gn.save(ensemble.models[k], path)`.

        OSError: the folder is missing or not writable.
        """
        write_atomically(path, saving.to_bytes(self._members))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from what `save` wrote, bit for bit, in an ensemble that is made as that one was.

        Raises:
            FileNotFoundError, ModelFileError: no such file; one that is damaged, or no ensemble.
            ValueError: models of another number, seed or shape, or another optimizer. Nothing is
                changed then.
        """
        saving.load_into(self._members, path)

    def ranking(self) -> list[Row]:
        """The models, the best first, each as a dict: its number `model`, what of `given` it has,
        what its history has of its best epoch, how many epochs it had, and why it stopped.
        `print(ensemble.table())` shows them.
        """
        return ranking.ranking(self._members)

    def table(self, most: int = 10) -> str:
        """The best ones of `ranking`, a line each, as text."""
        return ranking.text(self.ranking()[:most])

    def _repr_html_(self) -> str:
        """What a notebook shows: all of `ranking`."""
        return notebook.table(repr(self), *ranking.cells(self.ranking()))

    def predict(self, x: Any, of: Iterable[int] | None = None) -> Array:
        """The models' outputs for the rows of x, (models, rows, outputs), in evaluation mode: of
        all, or of those numbers. ValueError for no models.
        """
        x, chosen = as_array(x), self._chosen(of)
        if not chosen:
            raise ValueError("of: no models; give the number of one at least")
        found = [outputs(self.models[k], x) for k in chosen]
        stacked: Array = array_module(found[0]).stack(found)
        return stacked

    def average(self, x: Any, of: Iterable[int] | None = None) -> Array:
        """What the models say together of the rows of x, (rows, outputs): the mean of the classes'
        probabilities where the loss is one of probabilities, else of the outputs.
        """
        return committee.average(self.predict(x, of), self.loss)

    def vote(self, x: Any, of: Iterable[int] | None = None) -> Array:
        """The class that most models take each row of x for, int64 (rows,); of several that of the
        larger `average`. ValueError where there are no classes.
        """
        return committee.vote(self.predict(x, of), self.loss)

    def evaluate(self, data: Any, of: Iterable[int] | None = None) -> list[dict[str, float]]:
        """{"loss"} and, for classes, "accuracy", as `Trainer.evaluate` has them: of each, or of
        those numbers.
        """
        feed = Feed(data, self.models[0], self.loss, "data")
        return [evaluate(self.models[k], self.loss, feed) for k in self._chosen(of)]

    def _chosen(self, of: Iterable[int] | None) -> list[int]:
        """The numbers of models that are asked for. TypeError or IndexError for what is none."""
        if of is None:
            return list(range(len(self)))
        if not isinstance(of, Iterable):
            raise TypeError(f"of: numbers of models, such as [{of!r}], got {of!r}")
        chosen = [operator.index(k) for k in of]
        if any(not -len(self) <= k < len(self) for k in chosen):
            raise IndexError(f"of: there are models 0 to {len(self) - 1}, got {chosen}")
        return chosen

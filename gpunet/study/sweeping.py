"""Many settings at once: a network for every combination, those of one shape in one step."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from gpunet.containers import MLP
from gpunet.data import Dataset
from gpunet.ensemble import Ensemble
from gpunet.layer import Layer
from gpunet.loss import Loss, MeanSquaredError, SoftmaxWithLoss
from gpunet.study.columns import UNBOUNDED, folded
from gpunet.study.words import say
from gpunet.train import EarlyStopping, History

AT_ONCE = 64  # networks of one shape in one step
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One network: its settings (hidden, dropout and the optimizer's), seed, and what came of it.

    loss, accuracy: of its best epoch on the validation rows; inf if its numbers overflowed before,
    and None where the targets are numbers.
    """

    settings: Settings
    seed: int
    history: History
    failed: str | None

    @property
    def loss(self) -> float:
        """On the validation rows, at the best epoch; inf if there is none."""
        return float(self.history.best.get("valid_loss", math.inf))

    @property
    def accuracy(self) -> float | None:
        """The same way."""
        return self.history.best.get("valid_accuracy")

    @property
    def epoch(self) -> int | None:
        """The best one, from 1."""
        return self.history.best_epoch


@dataclass
class Sweep:
    """All of it, the lowest validation loss first. model: that of the first, at its best epoch."""

    varied: Mapping[str, Sequence[Any]]
    outcomes: list[Outcome] = field(default_factory=list)
    model: Layer | None = None
    interrupted: bool = False

    @property
    def best(self) -> Outcome:
        """The network with the lowest validation loss."""
        return self.outcomes[0]

    def combinations(self) -> list[tuple[Settings, list[Outcome]]]:
        """The outcomes of each combination of settings, one a seed; the lowest mean loss first."""
        found: dict[str, tuple[Settings, list[Outcome]]] = {}
        for outcome in self.outcomes:
            key = repr(sorted(outcome.settings.items()))
            found.setdefault(key, (outcome.settings, []))[1].append(outcome)
        return sorted(found.values(), key=lambda pair: mean_loss(pair[1]))

    def along(self, name: str) -> list[tuple[Any, float]]:
        """For each value of a setting the lowest mean loss that any of the others leads to."""
        best: dict[Any, float] = {}
        for settings, outcomes in self.combinations():
            best.setdefault(settings[name], mean_loss(outcomes))
        return [(value, best[value]) for value in self.varied[name] if value in best]

    def text(self, most: int = 10, width: int = UNBOUNDED) -> str:
        """The best combinations, a line each."""
        accuracy = self.best.accuracy is not None
        head = [*self.varied, "valid loss", *(["accuracy"] if accuracy else []), "epoch"]
        lines = [[say(word) for word in head]]
        for settings, outcomes in self.combinations()[:most]:
            cells = [shown(settings[name]) for name in self.varied]
            cells.append(f"{mean_loss(outcomes):.4f}")
            if accuracy:
                cells.append(f"{statistics.fmean(o.accuracy or 0.0 for o in outcomes):.4f}")
            epochs = [o.epoch for o in outcomes if o.epoch is not None]
            lines.append([*cells, f"{statistics.fmean(epochs):.1f}" if epochs else "-"])
        return "\n".join(folded(lines, len(self.varied), width))

    def to_csv(self) -> bytes:
        """One row a network, with a header line."""
        out = io.StringIO()
        names = [*self.best.settings, "seed", "valid_loss", "valid_accuracy", "best_epoch"]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*names, "epochs", "stopped"])
        for o in self.outcomes:
            values = [shown(value) for value in o.settings.values()]
            loss = o.loss if math.isfinite(o.loss) else None
            rest = [o.seed, loss, o.accuracy, o.epoch, len(o.history), o.history.stopped]
            writer.writerow([*values, *rest])
        return out.getvalue().encode()


def sweep(
    data: Dataset,
    hidden: Sequence[Sequence[int]] = ((100, 50),),
    optimizer: str = "adam",
    *,
    seeds: int = 1,
    epochs: int = 15,
    batch_size: int | None = 32,
    patience: int | None = 5,
    dropout: Sequence[float] = (0.0,),
    network: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
    **settings: Sequence[Any],
) -> Sweep:
    """Train a network for every combination of the values, 64 of one shape in one step.

    Args:
        data: with validation rows, by which the networks are compared and stopped.
        hidden: hidden layer sizes, a tuple for each shape.
        optimizer: its name.
        seeds: how many networks for each combination, from other initial weights.
        patience: epochs without a better validation loss, after which a network stops; None: never.
        dropout: shares of the hidden layers that are dropped.
        network: what else `gn.MLP` is made with.
        progress: called with how many networks are done.
        settings: values of the optimizer's settings, such as lr=[1e-3, 1e-2].

    After Ctrl-C it is what there is by then. ValueError, TypeError: no validation rows, or settings
    that do not fit.
    """
    if not len(data.valid):
        raise ValueError(f"{data.name}: no validation rows to compare networks on")
    shapes = [tuple(sizes) for sizes in hidden]
    values: dict[str, list[Any]] = {"hidden": shapes, "dropout": list(dropout)}
    values |= {name: list(found) for name, found in settings.items()}
    if empty := [name for name, found in values.items() if not found]:
        raise ValueError(f"{empty[0]} has no value; give one at least")
    found = Sweep({name: v for name, v in values.items() if len(v) > 1} or {"hidden": shapes})
    names = ["dropout", *settings]
    combinations = list(product(*(values[name] for name in names), range(seeds)))
    for sizes in shapes:
        for first in range(0, len(combinations), AT_ONCE):
            part = combinations[first : first + AT_ONCE]
            columns = dict(zip([*names, "seed"], map(list, zip(*part, strict=True)), strict=True))
            ensemble = _ensemble(data, sizes, optimizer, columns, patience, network or {}, device)
            ensemble.fit(data.train, data.valid, epochs, batch_size)
            _keep(found, ensemble, sizes, columns)
            if progress is not None:
                progress(len(part))
            if found.interrupted:
                return found
    return found


def _ensemble(
    data: Dataset,
    sizes: tuple[int, ...],
    optimizer: str,
    columns: Mapping[str, list[Any]],
    patience: int | None,
    network: Mapping[str, Any],
    device: str,
) -> Ensemble:
    """columns: the values of each network, by name."""
    own: dict[str, Any] = dict(columns)
    seeds, dropout = own.pop("seed"), own.pop("dropout")
    most = max(dropout)

    def model() -> Layer:
        return MLP([data.features, *sizes, data.outputs], dropout=most, **network)

    loss: Loss = MeanSquaredError() if data.classes is None else SoftmaxWithLoss()
    if most and sizes:
        own["dropout"] = dropout
    return Ensemble(
        model, len(seeds), optimizer, loss, seeds=seeds, device=device, progress=False,
        callbacks=[EarlyStopping(patience)], **own,
    )  # fmt: skip


def _keep(
    found: Sweep, ensemble: Ensemble, sizes: tuple[int, ...], columns: Mapping[str, list[Any]]
) -> None:
    """Add the outcomes, and the model if it is the best so far."""
    before = found.outcomes[0].loss if found.outcomes else math.inf
    for k, history in enumerate(ensemble.histories):
        own = {name: column[k] for name, column in columns.items() if name != "seed"}
        error = ensemble.errors[k]
        failed = None if error is None else str(error)
        seed = columns["seed"][k]
        found.outcomes.append(Outcome({"hidden": sizes, **own}, seed, history, failed))
        found.interrupted |= history.stopped == "interrupted"
    found.outcomes.sort(key=lambda outcome: outcome.loss)
    if found.model is None or found.outcomes[0].loss < before:
        found.model = ensemble.models[ensemble.best]


def mean_loss(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.loss for outcome in outcomes) / len(outcomes)


def shown(value: Any) -> str:
    """A value of a setting as it is typed."""
    if isinstance(value, tuple):
        return ",".join(shown(one) for one in value) or "none"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)

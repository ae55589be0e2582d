"""How far a fit is, between two updates: what it takes, besides model and optimizer, to go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gpunet.backend import Array, to_host
from gpunet.train.callbacks import Callback

State = dict[str, Any]


def _none() -> Array:
    return np.zeros(0)


@dataclass
class Progress:
    """A fit under way, or one that was stopped before its end.

    plan: settings and fingerprints of the data; under another plan no epoch is gone on with.
    first: the first epoch of the fit. epoch: the one that runs, or comes next, from 1.
    updates, batches: made of that epoch.
    losses, weights: float64, one element a batch of the epoch: its loss and what it counts; as
        `Updates` has them while it runs, else of the batches so far, on the host.
    lr, seconds: of the epoch, for its row of the history.
    heard: the classes of the callbacks that have been told of that row; None before there is one.
    reason: why no epoch is to follow, if so.
    states: [class name, state_dict()] of the callbacks, where the fit does not run.
    model: {"arrays", "numbers"} to go on with, where the model holds the weights of its best epoch
        instead; left: a fingerprint of those.
    of_file: it was loaded, and is to end as it would have.
    """

    plan: State
    first: int
    epoch: int
    updates: int = 0
    batches: int = 0
    losses: Array = field(default_factory=_none)
    weights: Array = field(default_factory=_none)
    lr: float | None = None
    seconds: float = 0.0
    heard: list[str] | None = None
    reason: str = ""
    states: list[Any] = field(default_factory=list)
    model: State | None = None
    left: str = ""
    of_file: bool = False
    started: float | None = None

    @property
    def trained(self) -> bool:
        """Whether anything of the fit was trained."""
        return self.updates > 0 or self.heard is not None or self.epoch > self.first

    def start_clock(self) -> None:
        """The epoch begins, or is gone on with."""
        self.started = time.perf_counter() - self.seconds

    def clock(self) -> float:
        """Seconds spent on the epoch."""
        return self.seconds if self.started is None else time.perf_counter() - self.started

    def next_epoch(self) -> None:
        self.epoch += 1
        self.updates = self.batches = 0
        self.losses = self.weights = _none()
        self.seconds, self.started, self.heard = 0.0, None, None

    def undo(self, updates: int, batches: int) -> None:
        """The model is back at where it was so many updates ago."""
        self.updates -= updates
        self.batches -= batches

    def rested(self, callbacks: Sequence[Callback]) -> Progress:
        """The same in plain data, which nothing changes any more. Waits for a GPU."""
        losses, weights = (to_host(a[: self.batches]).copy() for a in (self.losses, self.weights))
        return replace(
            self,
            losses=losses,
            weights=weights,
            seconds=self.clock(),
            started=None,
            states=[[type(c).__name__, c.state_dict()] for c in stateful(callbacks)],
        )

    def wake(self, callbacks: Sequence[Callback]) -> None:
        """Give the callbacks their states back."""
        for callback, (_, state) in zip(stateful(callbacks), self.states, strict=True):
            callback.load_state_dict(state)
        self.states = []


def stateful(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that have a state to save."""
    return [c for c in callbacks if type(c).state_dict is not Callback.state_dict]

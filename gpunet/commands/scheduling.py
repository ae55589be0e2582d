"""A learning rate schedule as it is typed: "cosine", "step:10", "warmup+exponential:0.9"."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpunet import schedules
from gpunet.commands.parse import finite, one_of
from gpunet.schedules import Rate

WARMUP = 0.05  # of all updates
WARMS = "warmup"
# By name: the number that is meant where none is given, and what it says. All count in epochs.
KINDS = {
    "constant": (math.nan, ""),
    "cosine": (math.nan, ""),
    "step": (10.0, "a tenth of it after each so many epochs"),
    "exponential": (0.95, "times so much an epoch"),
    "inverse-time": (0.1, "lr / (1 + so much times the epochs)"),
}


@dataclass(frozen=True)
class Scheduling:
    """A schedule before rate and length are known.

    kind: of KINDS. number: as KINDS says; nan where it has none. warms: whether it rises first, in
    a twentieth of the updates.
    """

    kind: str
    number: float
    warms: bool

    @classmethod
    def parsed(cls, text: str) -> Scheduling:
        """ValueError for what is none, in words for the command line."""
        first, plus, rest = text.strip().lower().rpartition("+")
        if plus and first.strip() != WARMS:
            raise ValueError(f"{text!r}: before the + stands {WARMS}, as in {WARMS}+cosine")
        name, colon, given = rest.partition(":")
        if name.strip() == WARMS:
            return cls("constant", math.nan, True)
        kind = one_of(name, KINDS, "schedule")
        usual, means = KINDS[kind]
        if colon and not means:
            raise ValueError(f"{text!r}: {kind} takes no number")
        number = finite(given) if colon else usual
        if means and not number > 0:
            raise ValueError(f"{text!r}: {kind} takes a number above 0: {means}")
        return cls(kind, number, bool(plus))

    def __str__(self) -> str:
        number = "" if math.isnan(self.number) else f":{self.number:g}"
        return f"{WARMS}+" * self.warms + self.kind + number

    def over(self, lr: float, epochs: int, an_epoch: int) -> Rate:
        """The rate of so many epochs of `an_epoch` updates each, from `lr`."""
        total = epochs * an_epoch
        if not self.warms:
            return self._after(lr, total, an_epoch)
        first = max(1, round(WARMUP * total))
        return schedules.warmup(self._after(lr, max(1, total - first), an_epoch), first)

    def _after(self, lr: float, total: int, an_epoch: int) -> Rate:
        if self.kind == "cosine":
            return schedules.cosine(lr, total)
        if self.kind == "step":
            return schedules.step(lr, max(1, round(self.number * an_epoch)))
        if self.kind == "exponential":
            return schedules.exponential(lr, self.number ** (1 / an_epoch))
        if self.kind == "inverse-time":
            return schedules.inverse_time(lr, self.number / an_epoch)
        return lr

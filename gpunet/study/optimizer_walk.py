"""An optimizer step by step on one weight: every number that its formula sees, and what it does.

    >>> gn.study.optimizer("momentum", [5, 3], lr=0.1)

prints a line for each update, with the formula above them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from gpunet import notebook
from gpunet.files import write_atomically
from gpunet.optim import OPTIMIZERS, Optimizer
from gpunet.optim.kernel import LIMITS
from gpunet.optim.scalars import known_at
from gpunet.parameter import Parameter
from gpunet.study.columns import aligned
from gpunet.study.pages import page
from gpunet.study.words import say

CORRECTED = {"m": "correction1", "v": "correction2"}  # what is divided by which, in the papers


@dataclass(frozen=True)
class Update:
    """One update, all in float64.

    t: 1, 2, ... grad: what came in. scalars: the numbers that the formula is given beside it, with
    corrections 1 - beta^t. state: afterwards, with m / correction1 and v / correction2 where the
    papers have them. step: what was added to the weight, which is then `param`. rate: the
    effective learning rate, -step / grad; nan where grad is 0.
    """

    t: int
    grad: float
    scalars: dict[str, float]
    state: dict[str, float]
    step: float
    param: float
    rate: float


@dataclass(frozen=True)
class OptimizerWalk:
    """What `optimizer` found: `start` is the weight before, `updates` in their order."""

    optimizer: Optimizer
    start: float
    updates: list[Update]

    @property
    def formula(self) -> str:
        """The text of its .cu file: the very lines that run."""
        return self.optimizer.kernel.source.path.read_text("utf-8").strip()

    @property
    def fixed(self) -> dict[str, float]:
        """The scalars that are the same in every update."""
        first = self.updates[0].scalars
        return {k: v for k, v in first.items() if all(u.scalars[k] == v for u in self.updates)}

    def rows(self) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
        """Titles and rows of the table; what never changes is left out."""
        moving = [name for name in self.updates[0].scalars if name not in self.fixed]
        states = list(self.updates[0].state)
        last = map(say, ("effective lr", "step", "param"))
        titles = ("t", "grad", *moving, *states, *last)
        return titles, [
            (
                u.t,
                u.grad,
                *(u.scalars[name] for name in moving),
                *(u.state[name] for name in states),
                u.rate,
                u.step,
                u.param,
            )
            for u in self.updates
        ]

    def __str__(self) -> str:
        titles, rows = self.rows()
        cells = [titles, *(tuple(f"{value:.6g}" for value in row) for row in rows)]
        lines = aligned(cells, words=0)
        given = ", ".join(f"{name} = {value:.6g}" for name, value in self.fixed.items())
        return "\n".join([repr(self.optimizer), "", self.formula, "", given, "", *lines]).strip()

    def _repr_html_(self) -> str:
        titles, rows = self.rows()
        return notebook.table(repr(self.optimizer), titles, rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page: formula, numbers that stay, table. OSError where it cannot be written."""
        titles, rows = self.rows()
        name = type(self.optimizer).__name__
        given = ", ".join(f"{name} = {value:.6g}" for name, value in self.fixed.items())
        body = (
            f"<p>{escape(repr(self.optimizer))}</p>\n<pre>{escape(self.formula)}</pre>\n"
            f"<p>{escape(given)}</p>\n<div class='wide'>{notebook.table('', titles, rows)}</div>\n"
            f"<p>{say('effective lr is what the gradient was multiplied with: -step / grad.')}</p>"
        )
        write_atomically(path, page(say(f"{name}, step by step"), body).encode())


def optimizer(
    kind: str | type[Optimizer], gradients: Sequence[float], param: float = 0.0, **settings: Any
) -> OptimizerWalk:
    """Give an optimizer these gradients, one an update, for one weight that begins at `param`.

    Args:
        kind: a class, or its name in `gn.OPTIMIZERS`.
        settings: its own, such as lr=0.1, betas=(0.9, 0.99).

    Raises:
        ValueError: no gradients, one that is not finite, a setting outside its range, another name.
        TypeError: a setting that it has not.
    """
    if isinstance(kind, str):
        if kind not in OPTIMIZERS:
            raise ValueError(f"no optimizer {kind!r}; there are {', '.join(OPTIMIZERS)}")
        kind = OPTIMIZERS[kind]
    given = np.array(list(gradients), np.float64)
    if given.ndim != 1 or not given.size or not np.isfinite([*given, param]).all():
        raise ValueError(f"gradients and param must be finite numbers, got {gradients!r}, {param}")
    weight = Parameter(np.array([param], np.float64))
    one = kind([weight], **settings)
    return OptimizerWalk(one, float(param), [_updated(one, weight, g) for g in given.tolist()])


def _updated(one: Optimizer, weight: Parameter, grad: float) -> Update:
    before = weight.data.item()
    weight.grad = np.array([grad])
    one.step()
    scalars = _scalars(one)
    slots = one.state_dict()["state"]
    state = {k: arrays[0].item() for k, arrays in slots.items() if arrays[0] is not None}
    if "betas" in one.defaults:
        corrected = [(k, c) for k, c in CORRECTED.items() if k in state]
        state |= {f"{k} / {c}": state[k] / scalars[c] for k, c in corrected}
    step = weight.data.item() - before
    rate = -step / grad if grad else np.nan
    return Update(one.t, grad, scalars, state, step, weight.data.item(), rate)


def _scalars(one: Optimizer) -> dict[str, float]:
    """Those of the update just made, by the names of the formula."""
    settings = {**one.defaults, **({"lr": _lr(one)} if one.has_lr else {})}
    known = known_at(one.t, settings, one.derived)
    names = [name for name in one.kernel.row_names if name not in LIMITS]
    names += [name for name in CORRECTED.values() if name in known]
    found = {name: float(known[name]) for name in names}
    if not found.get("weight_decay", 1.0):
        del found["weight_decay"]
    return found


def _lr(one: Optimizer) -> float:
    """The rate of the update just made."""
    lr = one.defaults["lr"]
    return float(lr(one.t - 1)) if callable(lr) else float(lr)

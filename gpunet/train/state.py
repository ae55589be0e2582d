"""All that a training depends on, as the bytes of one file, and back."""

from __future__ import annotations

import json
import os
import warnings
from typing import Any, Protocol

from gpunet import rng
from gpunet.optim import Optimizer
from gpunet.packing import pack, unpack
from gpunet.saving import read, unusable
from gpunet.sealing import seal
from gpunet.train.callbacks import Training
from gpunet.train.fingerprint import of_arrays
from gpunet.train.progress import Progress
from gpunet.train.settings import differences, made_with, make_alike
from gpunet.train.snapshot import Snapshot
from gpunet.train.surroundings import surroundings


class Resumable(Training, Protocol):
    """A `Trainer`, as far as it is saved.

    made_with: the settings at the first fit, or None. plan: of the last fit, or None.
    bound: the next fit must have that plan. unfinished: the fit under way or stopped, or None.
    earlier: epochs' orders used up before the history's first epoch.
    """

    fuse: bool
    made_with: dict[str, Any] | None
    plan: dict[str, Any] | None
    bound: bool
    unfinished: Progress | None
    earlier: int

    def rested(self) -> Progress | None:
        """`unfinished` in plain data."""


def settings_of(trainer: Resumable) -> dict[str, Any]:
    """As they are now."""
    made = made_with(trainer.model, trainer.loss, trainer.optimizer)
    return {**made, "trainer": {"fuse": trainer.fuse}}


def to_bytes(trainer: Resumable) -> bytes:
    """The file. TypeError, naming it, for what a file cannot hold, such as in a callback's state.

    What NonFiniteError there is in the updates that nobody has looked at yet.
    """
    unfinished = trainer.rested()  # first: it may go back
    history, model = trainer.history, trainer.model
    tree = {
        "settings": settings_of(trainer),
        "made_with": trainer.made_with,
        "plan": trainer.plan,
        "unfinished": None if unfinished is None else vars(unfinished),
        "earlier": trainer.earlier,
        "history": {"rows": history.rows, "stopped": history.stopped, "kept": history.kept},
        "generator": rng.state(),
        "surroundings": surroundings(model.device),
        "model": {"arrays": model.state_dict(), "numbers": model.numbers()},
        "optimizer": trainer.optimizer.state_dict(),
    }
    packed, arrays = pack(tree)
    return seal(arrays, {"training": json.dumps(packed)})


def load_into(trainer: Resumable, path: str | os.PathLike[str], strict: bool) -> None:
    """See `Trainer.load`."""
    try:
        _load_into(trainer, path, strict)
    except (ValueError, OSError, Warning):
        raise
    except Exception as error:  # a checksum is right where someone made it so
        raise unusable(path, f"not a training: {type(error).__name__}: {error}") from None


def _load_into(trainer: Resumable, path: str | os.PathLike[str], strict: bool) -> None:
    words, arrays = read(path, "training")
    try:
        tree = unpack(json.loads(words["training"]), arrays)
        _check(tree)
        unfinished = tree["unfinished"] and Progress(**tree["unfinished"])
        was = tree["made_with"] or tree["settings"]
    except Exception as error:  # a damaged description may be anything
        raise unusable(path, f"not a training: {type(error).__name__}: {error}") from None
    if strict and (found := differences(was, trainer.made_with or settings_of(trainer))):
        raise ValueError(
            f"{os.fspath(path)}: the training was made with other settings: {'; '.join(found)}; "
            "load(path, strict=False) takes the trainer's"
        )
    _fill(trainer, tree, path, strict)
    if unfinished is not None:
        unfinished.of_file = True
        unfinished.left = of_arrays(trainer.model.state_dict().values())
    trainer.unfinished, trainer.plan, trainer.earlier = unfinished, tree["plan"], tree["earlier"]
    trainer.made_with = tree["made_with"] if strict else None
    trainer.bound = strict and trainer.plan is not None
    vars(trainer.history).update(tree["history"])
    _tell(tree["surroundings"], surroundings(trainer.model.device))


PARTS: dict[str, Any] = {
    "settings": {"model": dict, "loss": dict, "optimizer": dict, "frozen": list, "trainer": dict},
    "made_with": dict | None,
    "plan": dict | None,
    "unfinished": dict | None,
    "earlier": int,
    "history": {"rows": list, "stopped": str, "kept": int | None},
    "surroundings": dict,
    "model": {"arrays": dict, "numbers": dict},
    "optimizer": dict,
}
UNDER_WAY = {
    "plan": dict,
    "first": int,
    "epoch": int,
    "updates": int,
    "batches": int,
    "lr": float | int | None,
    "seconds": float | int,
    "heard": list | None,
    "reason": str,
    "states": list,
    "model": dict | None,
}


def _check(tree: dict[str, Any]) -> None:
    """TypeError or KeyError where a part is missing or is not what it must be."""
    _check_parts(tree, PARTS)
    if tree["unfinished"] is not None:
        _check_parts(tree["unfinished"], UNDER_WAY)
    if any(not isinstance(row, dict) or "epoch" not in row for row in tree["history"]["rows"]):
        raise TypeError("history holds what are no rows")


def _check_parts(tree: dict[str, Any], parts: dict[str, Any]) -> None:
    for name, kind in parts.items():
        value = tree[name]
        if not isinstance(value, dict if isinstance(kind, dict) else kind):
            raise TypeError(f"{name} is {value!r:.40}")
        if isinstance(kind, dict):
            _check_parts(value, kind)


def _fill(
    trainer: Resumable, tree: dict[str, Any], path: str | os.PathLike[str], strict: bool
) -> None:
    """Generator, model and optimizer; all stay as they are if one does not fit."""
    model, optimizer = trainer.model, trainer.optimizer
    before, numbers, settings = Snapshot(model), model.numbers(), settings_of(trainer)
    generator = rng.state()
    state = tree["optimizer"] if strict else _with_own_settings(tree["optimizer"], optimizer)
    try:
        rng.restore(tree["generator"])
        model.load_state_dict(tree["model"]["arrays"])
        model.load_numbers(tree["model"]["numbers"])
        if strict:
            make_alike(model, tree["settings"])
        optimizer.load_state_dict(state)
    except Exception as error:  # of a description that somebody changed, anything
        rng.restore(generator)
        before.restore()
        model.load_numbers(numbers)
        make_alike(model, settings)
        said = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{os.fspath(path)}: {said}") from error


def _with_own_settings(state: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    own = optimizer.state_dict()
    return {**state, "settings": own["settings"], "groups": own["groups"]}


def _tell(was: dict[str, Any], now: dict[str, Any]) -> None:
    if found := differences(was, now):
        warnings.warn(
            f"the training goes on in other surroundings, where the last bits of its numbers may "
            f"differ: {'; '.join(found)}",
            RuntimeWarning,
            stacklevel=5,
        )

"""Where a fit begins: anew, or where the last one was stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.backend import Array
from gpunet.layer import Layer
from gpunet.train.callbacks import Callback
from gpunet.train.feed import parts
from gpunet.train.fingerprint import of_arrays, of_data
from gpunet.train.groups import Groups
from gpunet.train.progress import Progress, stateful
from gpunet.train.settings import differences
from gpunet.train.state import Resumable, settings_of


def plan_of(
    train: Any, valid: Any, callbacks: Sequence[Callback], **settings: Any
) -> dict[str, Any]:
    """What must be the same for an epoch to be gone on with: data, settings, callbacks."""
    watching = [c for c in callbacks if c.settings or stateful([c])]
    return {
        **settings,
        "train": of_data(*parts(train, "train")),
        "valid": None if valid is None else of_data(*parts(valid, "valid")),
        "callbacks": [
            {"kind": type(c).__name__, **{name: getattr(c, name) for name in c.settings}}
            for c in watching
        ],
    }


def enter(trainer: Resumable, plan: dict[str, Any], groups: Groups, epochs: int) -> Progress:
    """Where a fit with this plan begins. ValueError if the one that was loaded had another, or
    more epochs.
    """
    if trainer.bound and (found := differences(trainer.plan, plan)):
        raise ValueError(
            f"the training that was loaded had other data or settings: {'; '.join(found)}; "
            "load(path, strict=False) lets them differ"
        )
    old = trainer.unfinished
    done = len(trainer.history) - old.first + 1 if old is not None and old.of_file else 0
    if epochs < done:
        raise ValueError(
            f"the fit that was loaded has trained {done} epochs already; epochs={epochs}, those of "
            "the whole, must not be less"
        )
    trainer.made_with = trainer.made_with or settings_of(trainer)
    trainer.plan, trainer.bound = plan, False
    if old is not None and plan and old.plan == plan and _is_as_left(trainer.model, old):
        if not old.of_file:  # so many epochs more, the rest of an unfinished one being the first
            old.first, old.reason = old.epoch + (old.heard is not None), ""
        old.of_file = False
        return old
    if not trainer.history.rows:  # the optimizer's t tells how many orders are used up
        trainer.earlier = trainer.optimizer.t // groups.updates
    epoch = len(trainer.history) + 1
    return Progress(plan, old.first if old is not None and old.of_file else epoch, epoch)


def wake(trainer: Resumable, progress: Progress, callbacks: Sequence[Callback]) -> None:
    """Model and callbacks as they were when the fit was stopped."""
    if progress.model is not None:
        trainer.model.load_state_dict(progress.model["arrays"])
        trainer.model.load_numbers(progress.model["numbers"])
        progress.model = None
    if progress.states:
        progress.wake(callbacks)
    trainer.unfinished = progress


def end(trainer: Resumable, callbacks: Sequence[Callback], interrupted: bool) -> None:
    """Let the callbacks end. They may bring back the best weights: an interrupted fit keeps the
    last ones, to go on from.
    """
    if not interrupted:
        trainer.unfinished = None
    unfinished, model = trainer.unfinished, trainer.model
    if unfinished is not None:
        unfinished.model = {"arrays": model.state_dict(), "numbers": model.numbers()}
    for callback in callbacks:
        callback.on_end(trainer, interrupted)
    if unfinished is not None and unfinished.model is not None:
        unfinished.left = _fingerprint(model.state_dict())
        if _fingerprint(unfinished.model["arrays"]) == unfinished.left:
            unfinished.model = None


def _is_as_left(model: Layer, old: Progress) -> bool:
    """Nobody has changed the best weights, in whose place the last ones are to come."""
    return old.model is None or _fingerprint(model.state_dict()) == old.left


def _fingerprint(arrays: dict[str, Array]) -> str:
    return of_arrays(arrays.values())

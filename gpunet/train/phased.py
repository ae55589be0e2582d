"""Whether a training's updates run in phases: docs/step.md."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from gpunet.fused.resident import Resident
from gpunet.phases.phased import Phased
from gpunet.train.groups import Groups
from gpunet.train.updates import ResidentUpdates, Updates

LONG = 200  # updates of an epoch, from which on a compiler's seconds are thought to pay


def in_phases(updates: Updates | ResidentUpdates, groups: Groups, wanted: bool | str) -> str:
    """Let `updates` run in phases where they fit. Returns "", or "; " and why they do not.

    wanted: as for a `Trainer`. What "auto" decides by stays the same when a training goes on: the
    plan and the data. ValueError for True where they do not fit.
    """
    found = _choose(updates, groups, wanted)
    if isinstance(found, str):
        if wanted is True and updates.feed.xp is not np:
            raise ValueError(f"phases=True: {found}")
        return f"; not in phases: {found}"
    assert isinstance(updates, ResidentUpdates)
    updates.launches.phased = found
    return ""


def _choose(updates: Updates | ResidentUpdates, groups: Groups, wanted: bool | str) -> Phased | str:
    """The phases, or why not."""
    if wanted is False:
        return "phases=False"
    if isinstance(updates, Updates):
        return "the model does not run fused from data on a GPU"
    return phases_of([updates.batch], groups, wanted)


def phases_of(residents: Sequence[Resident], groups: Groups, wanted: bool | str) -> Phased | str:
    """The phases of these networks, compiled, or why they do not run so. wanted: True or "auto"."""
    if wanted == "auto" and groups.updates < LONG:
        return f"{groups.updates} updates an epoch; from {LONG} on they are thought to pay"
    if groups.accumulates:
        return "gradients of several batches are added up"
    phased = Phased(residents, groups.rows)
    if phased.reason:
        return phased.reason
    try:
        phased.compile()
    except Exception as error:  # NVRTC's, a driver's: what it was does not matter here
        if wanted is True:
            raise
        told = f"they do not compile: {error}"
        warnings.warn(f"training goes on without phases, for {told}", RuntimeWarning, stacklevel=4)
        return told
    return phased

"""An optimizer's state as a dict, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend import Array, device_of, to_device
from gpunet.optim.check import hyperparameter
from gpunet.optim.segment import Hyper

Optimizer = Any  # of gpunet.optim.base, which imports this module


def state_of(optimizer: Optimizer) -> dict[str, Any]:
    """What `Optimizer.state_dict` returns."""
    views = _views(optimizer)
    state: dict[str, list[Array | None]] = {}
    for slot in optimizer.kernel.slots:
        own = [views.get((id(p), slot.name)) for p in optimizer.parameters]
        state[slot.name] = [None if v is None else v.copy() for v in own]
    return {
        "optimizer": type(optimizer).__name__,
        "t": optimizer.t,
        "groups": [{k: v for k, v in g.items() if not callable(v)} for g in optimizer.groups],
        "state": state,
        "arrays": _copied(optimizer.loose),
    }


def load_into(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """What `Optimizer.load_state_dict` does."""
    t, settings = _checked_head(optimizer, state)
    views = _views(optimizer)
    pairs = [
        (own, _checked_array(f"{slot} of parameter {k}", own, array))
        for slot, arrays in state["state"].items()
        for k, (own, array) in enumerate(
            zip([views.get((id(p), slot)) for p in optimizer.parameters], arrays, strict=True)
        )
    ]
    loose = _copied(state.get("arrays", {}))
    for own, ready in pairs:
        if own is not None:
            own[...] = ready
    for group, given in zip(optimizer.groups, settings, strict=True):
        group.update(given)
    optimizer.loose = loose
    optimizer.t = t


def _copied(arrays: Mapping[Any, Mapping[str, Array]]) -> dict[Any, dict[str, Array]]:
    return {key: {slot: a.copy() for slot, a in kept.items()} for key, kept in arrays.items()}


def _views(optimizer: Optimizer) -> dict[tuple[int, str], Array]:
    """Each parameter's part of each state array, by (id, slot)."""
    views: dict[tuple[int, str], Array] = {}
    for s in optimizer.segments:
        for p, place in s.arena.places_in(s.whole.place):
            for slot, buffer in s.whole.state.items():
                views[id(p), slot] = buffer[place].reshape(p.shape)
    return views


def _checked_head(optimizer: Optimizer, state: Mapping[str, Any]) -> tuple[int, list[Hyper]]:
    """t and the groups' settings; ValueError if the state is not of such an optimizer."""
    name, slots = type(optimizer).__name__, [slot.name for slot in optimizer.kernel.slots]
    if state.get("optimizer") != name or set(state.get("state", ())) != set(slots):
        raise ValueError(f"this is no state of {name}, but of {state.get('optimizer')!r}")
    groups, t = state.get("groups", ()), state.get("t")
    if len(groups) != len(optimizer.groups):
        raise ValueError(f"the state has {len(groups)} groups, {name} has {len(optimizer.groups)}")
    if not isinstance(t, (int, np.integer)) or t < 0:
        raise ValueError(f"t, the number of updates, must be an integer from 0, got {t!r}")
    for slot, arrays in state["state"].items():
        if len(arrays) != len(optimizer.parameters):
            raise ValueError(
                f"{slot}: {len(arrays)} arrays for {len(optimizer.parameters)} parameters"
            )
    for given in groups:
        if unknown := set(given) - set(optimizer.defaults):
            raise ValueError(f"{name} has no setting {', '.join(sorted(unknown))}")
    return int(t), [{k: hyperparameter(k, v) for k, v in g.items()} for g in groups]


def _checked_array(what: str, own: Array | None, given: Any) -> Array | None:
    """`given` on `own`'s device and of its dtype; ValueError if it cannot take its place."""
    if (own is None) != (given is None):
        raise ValueError(f"{what}: the settings differ from the state")
    if own is None:
        return None
    try:
        ready = to_device(given, device_of(own)).astype(own.dtype, copy=False)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be an array, got {type(given).__name__}") from None
    if ready.shape != own.shape:
        raise ValueError(f"{what} has shape {own.shape}, the state has {ready.shape}")
    return ready

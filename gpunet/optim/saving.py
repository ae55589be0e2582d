"""An optimizer's state as a dict, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import Array, device_of, to_device
from gpunet.optim.check import Settings, checked
from gpunet.optim.kernel import State

ByParameter = dict[str, list[Array | None]]  # by slot, a parameter's array or None for none


class Saved(NamedTuple):
    """What `Optimizer.state_dict` gave, read and checked."""

    t: int
    groups: list[dict[str, Any]]
    state: ByParameter
    by_key: dict[Any, State]


def copied(arrays: Any) -> Any:
    """Dicts and lists of arrays with every array copied; None stays."""
    if isinstance(arrays, Mapping):
        return {key: copied(a) for key, a in arrays.items()}
    if isinstance(arrays, list):
        return [copied(a) for a in arrays]
    return None if arrays is None else arrays.copy()


def read_state(
    state: Mapping[str, Any], name: str, groups: Sequence[Settings], own: ByParameter
) -> Saved:
    """The state of an optimizer `name`, its arrays on the devices and of the dtypes of `own`.

    ValueError if it is another's, or does not fit.
    """
    if state.get("optimizer") != name or set(state.get("state", ())) != set(own):
        raise ValueError(f"this is no state of {name}, but of {state.get('optimizer')!r}")
    given, t = state.get("groups", ()), state.get("t")
    if len(given) != len(groups):
        raise ValueError(f"the state has {len(given)} groups, {name} has {len(groups)}")
    if not isinstance(t, (int, np.integer)) or t < 0:
        raise ValueError(f"t, the number of updates, must be an integer from 0, got {t!r}")
    settings = [_checked(*pair, name) for pair in zip(groups, given, strict=True)]
    arrays = {slot: _fitting(slot, mine, state["state"][slot]) for slot, mine in own.items()}
    return Saved(int(t), settings, arrays, copied(state.get("arrays", {})))


def _checked(own: Settings, given: Mapping[str, Any], name: str) -> dict[str, Any]:
    if unknown := set(given) - set(own):
        raise ValueError(f"{name} has no setting {', '.join(sorted(unknown))}")
    return {key: checked(key, value, own[key]) for key, value in given.items()}


def _fitting(name: str, own: Sequence[Array | None], given: Sequence[Any]) -> list[Array | None]:
    if len(given) != len(own):
        raise ValueError(f"{name}: {len(given)} arrays for {len(own)} parameters")
    return [
        _ready(f"{name} of parameter {k}", *pair)
        for k, pair in enumerate(zip(own, given, strict=True))
    ]


def _ready(what: str, own: Array | None, given: Any) -> Array | None:
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

"""An optimizer's state as a dict, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import Array, array_module, device_of, to_device
from gpunet.optim.check import Settings, checked
from gpunet.optim.kernel import State, UpdateKernel

ByParameter = dict[str, list[Array | None]]  # by slot, a parameter's array or None for none
PARTS = ("t", "groups", "state", "arrays")
MOST_UPDATES = 2**40  # a year of the fastest steps


class Form(NamedTuple):
    """What a state must fit: an optimizer's name and kernel, its settings as a whole and by group,
    its own arrays.
    """

    name: str
    kernel: UpdateKernel
    settings: Mapping[str, Any]
    groups: Sequence[Settings]
    state: ByParameter


class Saved(NamedTuple):
    """What `Optimizer.state_dict` gave, read and checked."""

    t: int
    settings: dict[str, Any]
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


def without_code(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All but a schedule."""
    return {name: value for name, value in settings.items() if not callable(value)}


def read_state(state: Any, own: Form) -> Saved:
    """What it holds, its arrays on the devices of the optimizer's own.

    ValueError if it is another's, damaged, or does not fit.
    """
    given = _dict(state, "the state")
    if not isinstance(kind := given.get("optimizer"), str) or kind != own.name:
        raise ValueError(f"this is no state of {own.name}, but of {kind!r}")
    if missing := [part for part in PARTS if part not in given]:
        raise ValueError(f"the state has no {', '.join(missing)}")
    t = given["t"]
    if isinstance(t, bool) or not isinstance(t, (int, np.integer)) or not 0 <= t <= MOST_UPDATES:
        raise ValueError(f"t, the number of updates, must be an integer from 0, got {t!r}")
    groups = _list(given["groups"], "groups")
    if len(groups) != len(own.groups):
        raise ValueError(f"the state has {len(groups)} groups, {own.name} has {len(own.groups)}")
    found = [
        _settings(f"groups[{k}]", own, *pair)
        for k, pair in enumerate(zip(own.groups, groups, strict=True))
    ]
    whole = {}
    if "settings" in given:  # older states have none
        whole = _settings("settings", own, own.settings, given["settings"])
    arrays = _dict(given["state"], "state")
    if set(arrays) != set(own.state):
        raise ValueError(f"this is no state of {own.name}: state {_differ(arrays, own.state)}")
    by_parameter = {slot: _fitting(slot, mine, arrays[slot]) for slot, mine in own.state.items()}
    options = own.kernel.options
    for k, (mine, new) in enumerate(zip(own.groups, found, strict=True)):
        if differ := options({**mine, **new}) ^ options(mine):
            raise ValueError(f"groups[{k}]: the optimizer has another {', '.join(sorted(differ))}")
    slots = [slot.name for slot in own.kernel.slots({**own.settings, **whole})]
    kept = _dict(given["arrays"], "arrays").items()
    by_key = {key: _kept(f"arrays[{key!r}]", slots, arrays) for key, arrays in kept}
    return Saved(int(t), whole, found, by_parameter, by_key)


def _dict(given: Any, what: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} must be a dict, got {type(given).__name__}")
    return given


def _list(given: Any, what: str) -> Sequence[Any]:
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{what} must be a list, got {type(given).__name__}")
    return given


def _differ(given: Iterable[Any], expected: Iterable[str]) -> str:
    """As in: has x; it needs m, v."""
    return f"has {', '.join(map(str, given)) or 'nothing'}; it needs {', '.join(expected)}"


def _settings(what: str, own: Form, mine: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """Those of a group or of the whole, checked."""
    if unknown := [name for name in _dict(given, what) if name not in mine]:
        raise ValueError(f"{own.name} has no setting {', '.join(map(str, unknown))}")
    for name, value in mine.items():
        if name not in given and not callable(value):
            lost = "; where it was a schedule, make the optimizer with it" if name == "lr" else ""
            raise ValueError(f"{what} has no {name}{lost}")
        if callable(given.get(name)):
            raise ValueError(f"{name} of {what} is code, which no state holds")
    return {name: checked(name, value, mine[name]) for name, value in given.items()}


def _fitting(name: str, own: Sequence[Array | None], given: Any) -> list[Array | None]:
    if len(_list(given, f"{name} of state")) != len(own):
        raise ValueError(f"{name}: {len(given)} arrays for {len(own)} parameters")
    return [
        _ready(f"{name} of parameter {k}", *pair)
        for k, pair in enumerate(zip(own, given, strict=True))
    ]


def _ready(what: str, own: Array | None, given: Any) -> Array | None:
    """`given` on `own`'s device; ValueError if it cannot take its place."""
    if (own is None) != (given is None):
        raise ValueError(f"{what}: the settings differ from the state")
    if own is None:
        return None
    listed = array_module(given) is None
    array = _from_list(what, given, own.dtype) if listed else given
    if array.shape != own.shape:
        raise ValueError(f"{what} has shape {own.shape}, the state has {array.shape}")
    if array.dtype != own.dtype:
        raise ValueError(f"{what} is {own.dtype}, the state has {array.dtype}")
    return to_device(array, device_of(own))


def _from_list(what: str, given: Any, dtype: Any) -> Array:
    """Numbers, as JSON has them."""
    try:
        with np.errstate(over="raise"):
            array = np.asarray(given)
            if array.dtype.kind in "fi" and isinstance(given, (list, tuple, float, int)):
                return array.astype(dtype)
    except (TypeError, ValueError, OverflowError, FloatingPointError):
        pass
    raise ValueError(f"{what} must be an array, got {type(given).__name__}")


def _kept(what: str, slots: Sequence[str], given: Any) -> State:
    """What `update` keeps of an array, copied."""
    if set(_dict(given, what)) != set(slots):
        raise ValueError(f"{what} {_differ(given, slots)}")
    for slot, array in given.items():
        if array_module(array) is None or array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{slot} of {what} must be a float32 or float64 array, got {array!r}")
    if len({(a.shape, a.dtype, array_module(a)) for a in given.values()}) > 1:
        raise ValueError(f"the arrays of {what} differ in shape, dtype or device")
    return {slot: array.copy() for slot, array in given.items()}

"""What an optimizer is given, read into groups: settings, and the parameters that they hold for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gpunet.arena import check_parameters
from gpunet.backend import common_module
from gpunet.optim.check import Settings, resolve
from gpunet.parameter import Parameter


class Group(NamedTuple):
    settings: Settings
    members: list[Parameter]


def read_groups(given: Any, defaults: Settings, name: str) -> list[Group]:
    """`model.parameters()` as one group, or dicts {"params": [...], "lr": ...} as a group each;
    what a dict leaves out is as in `defaults`. name: the optimizer's, for errors.

    Raises:
        TypeError: neither; something that is no Parameter; an unknown setting.
        ValueError: no parameters, or one twice; a setting outside its range.
        DeviceError: parameters on two devices.
    """
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise TypeError(
            f"{name} got {type(given).__name__} for its parameters; give model.parameters(), or "
            "settings by name: lr=0.1"
        )
    items = list(given)
    dicts = items if all(isinstance(item, Mapping) for item in items) else [{"params": items}]
    groups = [_group(item, defaults, name) for item in dicts]
    members = check_parameters([p for group in groups for p in group.members])
    if not members:
        raise ValueError(f"{name} got no parameters")
    common_module([p.data for p in members], name)
    return groups


def _group(given: Mapping[str, Any], defaults: Settings, name: str) -> Group:
    if "params" not in given:
        raise ValueError(f'a parameter group needs "params"; it has {", ".join(given)}')
    settings = Settings(defaults)
    for key, value in given.items():
        if key not in ("params", *defaults):
            raise TypeError(f"{name} has no setting {key!r}")
        if key != "params":
            settings[key] = value
    if "lr" in settings:
        resolve(settings["lr"], 0)  # a bad schedule is told now, before anything is changed
    return Group(settings, list(given["params"]))

"""Parameters that several layers have in common, by name: what a file says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpunet.layer import Layer
from gpunet.parameter import Parameter


def ties(model: Layer) -> list[list[str]]:
    """For each parameter that belongs to more than one layer, a name for each of them."""
    layers = _layers(model)
    found: dict[int, dict[tuple[int, str], str]] = {}
    for name, p in model.named_parameters():
        layer, inside = _owner(layers, name)
        found.setdefault(id(p), {}).setdefault((id(layer), inside), name)
    return [list(names.values()) for names in found.values() if len(names) > 1]


def tie(model: Layer, groups: Sequence[Sequence[str]]) -> None:
    """Let the parameters of each group be the group's first one.

    ValueError for names that the model has not, for other shapes, and where a layer keeps its own
    in a tuple.
    """
    if not groups:
        return
    layers, named = _layers(model), dict(model.named_parameters())
    for first, *others in groups:
        for name in others:
            if name not in named or first not in named or named[name].shape != named[first].shape:
                raise ValueError(f"{first} and {name} cannot be one parameter")
            _put(*_owner(layers, name), named[first])


def _layers(model: Layer) -> dict[str, Layer]:
    """By what their parameters' names begin with."""
    return {"": model} | {f"{name}.": layer for name, layer in model.named_layers()}


def _owner(layers: Mapping[str, Layer], name: str) -> tuple[Layer, str]:
    """The layer that has the parameter, and the rest of its name there."""
    prefix = next(k for k in _prefixes(name) if k in layers)
    return layers[prefix], name.removeprefix(prefix)


def _prefixes(name: str) -> Iterator[str]:
    """Longest first: "a.b.", "a." and ""."""
    parts = name.split(".")
    yield from (".".join([*parts[:k], ""]) for k in range(len(parts) - 1, -1, -1))


def _put(layer: Layer, inside: str, p: Parameter) -> None:
    """It may lie in an attribute, or in lists and dicts in one."""
    attribute, *keys = inside.split(".")
    if not keys:
        setattr(layer, attribute, p)
        return
    box: Any = getattr(layer, attribute)
    for key in keys[:-1]:
        box = box[key if isinstance(box, dict) else int(key)]
    if isinstance(box, tuple):
        raise ValueError(f"{inside} of a {type(layer).__name__} lies in a tuple; use a list")
    box[keys[-1] if isinstance(box, dict) else int(keys[-1])] = p

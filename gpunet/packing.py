"""A tree of dicts, lists, numbers, text and arrays as JSON and named arrays, and back, bit for bit.

In the JSON an array is {"array": its name}, a tuple {"tuple": [...]}, and a dict with keys other
than text {"pairs": [[key, value], ...]}; so is one that could be taken for one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend import Array, array_module

MARKS = ("array", "tuple", "pairs")


def pack(tree: Any) -> tuple[Any, dict[str, Array]]:
    """What JSON can hold of the tree, and its arrays by their places in it.

    TypeError, naming the place, for what is none of these.
    """
    arrays: dict[str, Array] = {}
    return _packed(tree, "", arrays), arrays


def unpack(packed: Any, arrays: Mapping[str, Array]) -> Any:
    """The tree again. KeyError for an array that is not there."""
    if isinstance(packed, list):
        return [unpack(one, arrays) for one in packed]
    if not isinstance(packed, dict):
        return packed
    if len(packed) == 1:
        ((mark, inside),) = packed.items()
        if mark == "array":
            return arrays[inside]
        if mark == "tuple":
            return tuple(unpack(one, arrays) for one in inside)
        if mark == "pairs":
            return {unpack(k, arrays): unpack(v, arrays) for k, v in inside}
    return {key: unpack(value, arrays) for key, value in packed.items()}


def _packed(tree: Any, place: str, arrays: dict[str, Array]) -> Any:
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree.item() if isinstance(tree, np.generic) else tree
    if isinstance(tree, np.generic):
        return _packed(tree.item(), place, arrays)
    if array_module(tree) is not None and tree.dtype.kind in "fiub":
        name = _free(place, arrays)
        arrays[name] = tree
        return {"array": name}
    if isinstance(tree, (list, tuple)):
        inside = [_packed(one, f"{place}.{k}", arrays) for k, one in enumerate(tree)]
        return {"tuple": inside} if isinstance(tree, tuple) else inside
    if isinstance(tree, Mapping):
        values = {key: _packed(one, f"{place}.{key}", arrays) for key, one in tree.items()}
        if all(type(key) is str for key in values) and not (len(values) == 1 and _marked(values)):
            return values
        return {"pairs": [[_packed(k, place, arrays), v] for k, v in values.items()]}
    raise TypeError(
        f"{place.lstrip('.') or 'it'} is a {type(tree).__name__}; a file can hold numbers, text, "
        "None, arrays of numbers, and lists, tuples and dicts of them"
    )


def _marked(values: Mapping[Any, Any]) -> bool:
    return next(iter(values)) in MARKS


def _free(place: str, arrays: Mapping[str, Array]) -> str:
    """A name for an array; two places may read alike: {"a.b": x} and {"a": {"b": y}}."""
    name = place.lstrip(".") or "array"
    while name in arrays:
        name += "'"
    return name

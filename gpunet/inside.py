"""What lies inside a layer's attributes: in lists, tuples and dicts it is found, elsewhere not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
# What most attributes are, and holds nothing: told first, for a step on the tape asks.
PLAIN = frozenset(
    map(type, (0, 0.0, "", True, None, *map(np.dtype, ("float32", "float64")), np.zeros(0)))
)
ROWS, DICTS = (list, tuple, deque), (dict, MappingProxyType)
CONTAINERS = (*ROWS, *DICTS)
DEEP = 6  # boxes in boxes that are looked into for what is hidden
OURS = {"gpunet", "numpy", "cupy", "builtins"}


def inside(name: str, box: Any, kind: type[T]) -> Iterator[tuple[str, T]]:
    """Every `kind` in a list, tuple or dict, and in those inside it, with its dotted name."""
    for key, value in box.items() if isinstance(box, DICTS) else enumerate(box):
        if type(value) in PLAIN:
            continue
        if isinstance(value, kind):
            yield f"{name}.{key}", value
        elif isinstance(value, CONTAINERS):
            yield from inside(f"{name}.{key}", value, kind)


def hidden(box: Any, kinds: tuple[type, ...], known: set[int], deep: int = DEEP) -> Any | None:
    """The first of `kinds` that is not among the ids `known`, in any box that can be looked into:
    sets, functions and what they close over, objects with attributes.
    """
    if isinstance(box, kinds):
        return None if id(box) in known else box
    for value in _content(box) if deep else ():
        found = hidden(value, kinds, known, deep - 1)
        if found is not None:
            return found
    return None


def _content(box: Any) -> Iterable[Any]:
    if isinstance(box, (*ROWS, set, frozenset)):
        return list(box)
    if isinstance(box, DICTS):
        return [*box.keys(), *box.values()]
    if isinstance(box, np.ndarray):
        return box.ravel().tolist() if box.dtype.hasobject else ()
    if isinstance(box, partial):
        return (box.func, *box.args, *box.keywords.values())
    if isinstance(box, MethodType):
        return (box.__self__,)
    if isinstance(box, FunctionType):
        cells = box.__closure__ or ()
        return [cell.cell_contents for cell in cells if _is_full(cell)]
    plain = not isinstance(box, (ModuleType, type)) and hasattr(box, "__dict__")
    ours = type(box).__module__.partition(".")[0] in OURS
    return list(vars(box).values()) if plain and not ours else ()


def _is_full(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where a name is not bound yet
    except ValueError:
        return False
    return True

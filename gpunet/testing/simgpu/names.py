"""The names that CuPy has (allowlist.json), and how their arguments are passed."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

Parameters = list[str]


@functools.cache
def _file() -> dict[str, Any]:
    text = Path(__file__).with_name("allowlist.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


def version() -> str:
    """The version of the CuPy that the list was taken from."""
    return str(_file()["cupy"])


def names_of(owner: str) -> dict[str, Parameters | str | None]:
    """What CuPy's module or class `owner` ("cupy", "cupy.ndarray", ...) has; {} if not listed."""
    found: dict[str, Parameters | str | None] = _file()["names"].get(owner, {})
    return found


def parameters_of(owner: str, name: str) -> Parameters:
    """The names of the parameters of `owner.name`, `self` left out."""
    found = names_of(owner)[name]
    assert isinstance(found, list), f"the parameters of {owner}.{name} are not known"
    return [parameter for parameter in found if parameter != "self"]


def ufunc_names() -> list[str]:
    """The names in CuPy's main module that are ufuncs."""
    return [name for name, kind in names_of("cupy").items() if kind == "ufunc"]


def by_keyword(
    name: str, parameters: Parameters, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments as keywords; TypeError for those that CuPy's function does not take."""
    positional = parameters[: parameters.index("*")] if "*" in parameters else parameters
    if len(args) > len(positional):
        raise TypeError(
            f"{name}() takes {len(positional)} positional arguments but {len(args)} were given"
        )
    given = dict(zip(positional, args, strict=False))
    for keyword, value in kwargs.items():
        if keyword not in parameters:
            raise TypeError(f"{name}() got an unexpected keyword argument '{keyword}'")
        if keyword in given:
            raise TypeError(f"{name}() got multiple values for argument '{keyword}'")
        given[keyword] = value
    return given

"""Names of a package that load the module they live in when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for the package, whose modules load likewise.

    homes: for each module of it the names that it gives, with spaces between.
    """
    found = {name: home for home, names in homes.items() for name in names.split()}
    module = sys.modules[package]

    def __getattr__(name: str) -> Any:
        if name in found:
            value = getattr(import_module(f"{package}.{found[name]}"), name)
        elif not name.startswith("_") and find_spec(f"{package}.{name}"):
            value = import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(module, name, value)  # the next time it is there
        return value

    def __dir__() -> list[str]:
        from pkgutil import iter_modules  # takes longer than all of `import gpunet.lazy`

        inside = {part.name for part in iter_modules(module.__path__) if part.ispkg}
        return sorted({*vars(module), *found, *module.__all__, *inside})

    return __getattr__, __dir__

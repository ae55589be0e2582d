"""Packages that gpunet can do without: imported when they are used, named when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def extra(module: str, extra: str, user: str) -> ModuleType:
    """The package `module`, which comes with gpunet's `extra`, for `user`.

    ImportError that says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there, and something that it needs is not
        raise ImportError(
            f"{user} needs {module}: pip install 'gpunet[{extra}]'", name=module
        ) from None

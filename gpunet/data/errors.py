"""The one error of bad data, and the reading of files that may not be there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]


class DataError(ValueError):
    """Data that cannot be used. The message is always one line."""

    def __init__(self, message: str) -> None:
        # Messages of decoders and names of files may hold line breaks.
        super().__init__(" ".join(message.split()))


def unusable(where: object, expected: str, found: str, remedy: str) -> DataError:
    """The error in the shape that all of them share: where, expected, found, what to do."""
    return DataError(f"{where}: expected {expected}, found {found}; {remedy}")


def shown(value: object) -> str:
    """`repr(value)`, cut to what fits in a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + "...'"


def read_bytes(path: PathLike) -> bytes:
    """The content of a file that must not be empty. Raises DataError."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise unusable(
            path, "a readable file", reason, "check the path and its permissions"
        ) from None
    if not content:
        raise unusable(path, "data", "an empty file (0 bytes)", "make or fetch it again")
    return content

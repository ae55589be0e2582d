"""The one error of bad data, and the reading of files that may not be there."""

from __future__ import annotations

import functools
import gzip
import io
import os
import zlib
from collections.abc import Callable
from typing import ParamSpec, TypeAlias, TypeVar

from gpunet.files import read_file

PathLike: TypeAlias = str | os.PathLike[str]
P = ParamSpec("P")
R = TypeVar("R")
GZIP = b"\x1f\x8b"


class DataError(ValueError):
    """Data that cannot be used. The message is always one line."""

    def __init__(self, message: str) -> None:
        # Messages of decoders and names of files may hold line breaks.
        super().__init__(" ".join(message.split()))


class CellError(DataError):
    """A cell that is no number: text, or missing."""


def unusable(
    where: object, expected: str, found: str, remedy: str, kind: type[DataError] = DataError
) -> DataError:
    """The error in the shape that all of them share: where, expected, found, what to do."""
    return kind(f"{where}: expected {expected}, found {found}; {remedy}")


def shown(value: object) -> str:
    """`repr(value)`, cut to what fits in a message."""
    text = repr(value)
    return text if len(text) <= 40 else text[:36] + "...'"


# What is packed may be far larger than its file: 2 MB of gzip can be 2 GB of zeros. So much more
# than is packed is unpacked, or this many bytes; nobody's data needs that, but a trap does.
GROWTH, FREE = 50, 1 << 25


def room(packed: int) -> int:
    """How many bytes may come out of so many packed ones."""
    return max(GROWTH * packed, FREE)


def read_bytes(path: PathLike) -> bytes:
    """The content of a file that must not be empty, unpacked if it is gzip's, whatever its name.

    Raises DataError, also for a device or a pipe, and for gzip that grows beyond `room`.
    """
    try:
        content = read_file(path)
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error) or "more than memory holds"
        raise unusable(
            path, "a readable file", reason, "check the path and its permissions"
        ) from None
    if not content:
        raise unusable(path, "data", "an empty file (0 bytes)", "make or fetch it again")
    return _unpacked(path, content) if content.startswith(GZIP) else content


def _unpacked(path: PathLike, packed: bytes) -> bytes:
    most = room(len(packed))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            content = file.read(most + 1)
    except (EOFError, OSError, zlib.error) as error:
        found = f"damage ({error})"
        raise unusable(path, "a whole gzip file", found, "fetch it again") from None
    if len(content) > most:
        raise unusable(
            path,
            f"at most {most:,} bytes in {len(packed):,} of gzip",
            "more",
            "if that is meant, unpack it with gunzip first",
        )
    return content


def fits(read: Callable[P, R]) -> Callable[P, R]:
    """A reader that says it as DataError if memory does not suffice."""

    @functools.wraps(read)
    def reading(*given: P.args, **options: P.kwargs) -> R:
        try:
            return read(*given, **options)
        except MemoryError as error:
            found, hint = f"more than that ({error})", "give fewer rows, or train from memory maps"
            raise unusable(given[0], "data that fit into memory", found, hint) from None

    return reading

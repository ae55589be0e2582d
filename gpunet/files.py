"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

# A name of our own, and what versions before this one left: .NAME.PROCESS-NUMBER.tmp
_LEFT = re.compile(
    r"\.(?P<name>.{1,100})\.([0-9a-f]{8}\.gpunet-tmp|(?P<process>\d+)-\d+\.tmp)", re.S
)


def write_atomically(path: str | os.PathLike[str], data: bytes, *, durable: bool = True) -> None:
    """Write `data` beside `path`, force it to the disk, then take the place of what was there.
    durable=False leaves the forcing to the system: for what can be made again, and tells by itself
    that it is whole, since a power cut may then leave an empty file. It also leaves it to the
    caller to `sweep` the folder, once for many files.

    A link is followed; the new file has the permissions and, where that is allowed, the owner of
    the old one. OSError if the folder is missing or not writable, or `path` is a folder; the old
    file is then untouched. What is no file at all (such as /dev/null) is written to as it is. What
    processes that were killed have left beside `path` is removed.
    """
    target = os.path.realpath(path)
    old = status(target)
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(target, "wb") as file:
            file.write(data)
        return
    folder, name = os.path.split(target)
    if durable:
        sweep(folder, [name])
    with _beside(folder, name) as (handle, temporary):
        fill(handle, data, old, durable)
        if sys.platform == "win32":  # which renames no open file
            os.close(handle)
        os.replace(temporary, target)
    if durable:
        sync(folder)


def fill(handle: int, data: bytes, like: os.stat_result | None, durable: bool = True) -> None:
    """Write all of `data` to an open file, and if `durable` to the disk, with the permissions of
    another file.
    """
    if like is not None and sys.platform != "win32":
        with contextlib.suppress(OSError):  # only root may give files away
            os.fchown(handle, like.st_uid, like.st_gid)
        os.fchmod(handle, stat.S_IMODE(like.st_mode))
    with open(handle, "wb", closefd=False) as file:
        file.write(data)
    if durable:
        os.fsync(handle)


def sync(folder: str) -> None:
    """Force the names in a folder to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock(handle: int, *, wait: bool = False) -> bool:
    """Whether this open file or folder is now ours alone, until it is closed or we end, however
    that happens. Also True where the system has no such locks.
    """
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # some network drives
        return True
    return True


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a file. OSError for what is none: a folder, a device that never ends, a pipe
    that nobody writes to.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device, a pipe or a socket"
        raise OSError(errno.EINVAL, f"{kind}, not a file", os.fspath(path))
    return Path(path).read_bytes()


def readable(path: str | os.PathLike[str]) -> str:
    """A name as text for people: what cannot be printed, a byte that is no UTF-8 among it, as
    \\x1b. (A name may hold anything but a zero, also what moves a terminal's cursor.)
    """
    text = unicodedata.normalize("NFC", os.fspath(path))  # macOS takes Korean letters apart
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python's word for a byte that it could not read
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def status(path: str) -> os.stat_result | None:
    """What is there, None for nothing."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _beside(folder: str, name: str) -> Iterator[tuple[int, str]]:
    """A new file in the folder, open and locked, and its path; it is gone afterwards, unless it was
    renamed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        # 40 characters may be 160 bytes, and a name has at most 255.
        path = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(4)}.gpunet-tmp")
        try:
            handle = os.open(path, flags, 0o666)
        except FileExistsError:
            continue
        lock(handle, wait=True)
        if os.path.exists(path):  # another process may have swept it before it was locked
            break
        os.close(handle)
    try:
        yield handle, path
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)


def sweep(folder: str, names: Iterable[str]) -> None:
    """Remove the temporary files of processes that are dead: nobody holds their lock. (Of what
    versions before this one left, those for files of these names.)
    """
    known = {name[:100] for name in names}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _LEFT.fullmatch(entry.name)
            if found is None:
                continue
            process = found["process"]
            if process is None or (found["name"] in known and not _runs(int(process))):
                _remove_unlocked(entry.path)


def _remove_unlocked(path: str) -> None:
    if sys.platform == "win32":
        return  # there is no lock to tell by
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if lock(handle):
                os.unlink(path)
        finally:
            os.close(handle)


def _runs(process: int) -> bool:
    """Whether another process has this number. (In a container, it may well be our own.)"""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True

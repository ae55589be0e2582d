"""C++ compiled by g++ once, into a folder of this user's alone, and loaded from there.

A file's name holds a hash of all that goes into it: text, flags, headers, compiler. Beside it lies
the hash of what was built, so that a file cut short or damaged is built again. Any number of
processes may share the folder; one builds, the others wait for it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CXX = "g++"
CACHE = "GPUNET_CACHE"  # the variable with the folder
TIMEOUT = 300.0  # seconds
HEADERS = Path(__file__).resolve().parent  # device.h: CUDA's functions in C++
SLOTS = HEADERS / "slots.h"  # calls as numbers
FLUSHING = HEADERS / "flushing.h"  # small numbers as 0
BASE_FLAGS = (
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-ffp-contract=off",  # a product and a sum stay two roundings, as NumPy computes them
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-gnu-unique",  # else the loader merges the statics of two libraries' templates
)

_lock = threading.Lock()
_loaded: dict[Path, ctypes.CDLL] = {}


class CompileError(RuntimeError):
    """g++ refused a text, or is missing; the message is its own, by the text's `#line`s."""


def available() -> tuple[bool, str]:
    """Whether there is a compiler, and if not, what is missing."""
    if _compiler() is None:
        return False, f"{CXX} is not on PATH: install it (apt install g++, dnf install gcc-c++)"
    return True, ""


def _compiler() -> str | None:
    import shutil  # here and below: what `import gpunet` need not wait for

    return shutil.which(CXX)


def compile_shared(
    source: str, *, name: str, flags: Sequence[str] = (), headers: Sequence[Path] = ()
) -> ctypes.CDLL:
    """Compile `source` to a shared library and load it; see `build`."""
    flags = (*BASE_FLAGS, *flags, f"-I{HEADERS}", "-shared", "-Wl,--no-undefined")
    path = build(source, name=name, flags=flags, headers=(HEADERS / "device.h", *headers))
    with _lock:
        if path not in _loaded:
            try:
                _loaded[path] = ctypes.CDLL(str(path))
            except OSError as error:
                raise CompileError(f"{name}: {error}") from error
        return _loaded[path]


def build(
    source: str | Callable[[], str],
    *,
    name: str,
    flags: Sequence[str],
    headers: Sequence[Path] = (),
    suffix: str = ".so",
    key: str = "",
) -> Path:
    """The absolute path of what g++ makes of `source`, built where it is not there yet.

    `name` labels the file, and the messages where the text has no `#line`. `headers`: files that
    the text includes and whose content counts. A text that takes long to make is given as a
    function that makes it, with a `key` that stands for it. CompileError with g++'s message, or
    without g++.
    """
    stands = source if isinstance(source, str) else key
    parts = [stands, *flags, compiler_version(), *(_digest(path) for path in headers)]
    key = _hash("\0".join(parts).encode())[:32]
    label = re.sub(r"\W", "_", name)[:60] or "text"
    path = cache_folder() / f"{label}-{key}{suffix}"
    if not _is_whole(path):
        with _alone(path) as record:
            if not _is_whole(path):  # another process may have built it meanwhile
                text = source if isinstance(source, str) else source()
                _build(text, label, flags, path)
                record.write_text(_digest(path))
    return path


def _build(source: str, label: str, flags: Sequence[str], path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        text, output = Path(folder, f"{label}.cpp"), Path(folder, "output")
        text.write_text(source, encoding="utf-8")
        messages = run([*flags, text.name, "-o", output.name], folder=folder)
        os.replace(output, path)
    if messages:
        _warnings(path).write_text(messages, encoding="utf-8")


def warnings(path: Path) -> str:
    """What g++ had to say when it built that file."""
    file = _warnings(path)
    return file.read_text("utf-8") if file.exists() else ""


def _warnings(path: Path) -> Path:
    return path.with_name(path.name + ".warnings")


def run(arguments: Sequence[str], *, folder: str | None = None, text: str | None = None) -> str:
    """What g++ prints, else its warnings; `text` is its input. CompileError where it fails."""
    import subprocess

    compiler = _compiler()
    if compiler is None:
        raise CompileError(available()[1])
    try:
        done = subprocess.run(
            [compiler, *arguments],
            cwd=folder,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"{CXX} took longer than {TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        raise CompileError(done.stderr or f"{CXX} ended with status {done.returncode}")
    return done.stdout or done.stderr


@functools.cache
def compiler_version() -> str:
    """Which compiler it is: its path, version and machine."""
    return f"{_compiler()} {run(['-dumpfullversion', '-dumpmachine'])}"


# ---------------------------------------------------------------------------------------------
# The folder


@functools.cache
def cache_folder() -> Path:
    """Where what is compiled is kept: in `GPUNET_CACHE`, else in the user's cache folder.

    What lies there is loaded as code: the folder must be this user's own, and closed to all others.
    Where there is no such folder (a read-only home), a temporary one, for this process only.
    """
    user = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(user) if os.path.isabs(user) else Path.home() / ".cache"
    folder = Path(os.environ.get(CACHE) or base / "gpunet").absolute() / "cxx"
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if is_private(folder) and os.access(folder, os.W_OK):
            return folder
    import tempfile

    temporary = Path(tempfile.mkdtemp(prefix="gpunet-"))
    atexit.register(_remove, temporary, os.getpid())
    return temporary


def is_private(folder: Path) -> bool:
    """Whether `folder` is a folder, no link, that nobody but this user may look into or change."""
    status = folder.lstat()
    if sys.platform == "win32":
        return stat.S_ISDIR(status.st_mode)
    ours = status.st_uid == os.geteuid() and not status.st_mode & 0o077
    return stat.S_ISDIR(status.st_mode) and ours


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not where a fork of that process ends
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    try:
        return _record(path).read_text() == _digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _digest(path: Path) -> str:
    return _hash(path.read_bytes())


def _hash(text: bytes) -> str:
    from hashlib import sha256

    return sha256(text).hexdigest()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """The file with the hash of `path`, while no other process builds `path`."""
    record = _record(path)
    with open(record, "a") as file:
        if sys.platform != "win32":
            import fcntl

            with contextlib.suppress(OSError):  # some network drives have no locks
                fcntl.flock(file, fcntl.LOCK_EX)  # let go when the process ends, however it ends
        yield record

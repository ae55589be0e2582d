"""Compile CUDA-as-C++ text with g++ into a shared library, once.

A library is kept in a folder on disk under a name made from everything that goes into it (the
source, the package's headers, the flags, the compiler's version), so a second run of a test suite
compiles nothing. Libraries are written beside their final place and renamed, so any number of
processes may share the folder.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from gpunet import cxx

from . import sanitizer

CXX = "g++"
TIMEOUT_SECONDS = 180.0
BASE_FLAGS = (
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-ffp-contract=off",  # a product and a sum stay two roundings, as NumPy computes them
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-gnu-unique",  # else the loader merges the statics of two kernels' templates
    f"-I{cxx.HEADERS}",
    "-U_FORTIFY_SOURCE",  # fibers jump between stacks, which fortified longjmp refuses
)
HEADER_FOLDER = Path(__file__).resolve().parent

_FIRST_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
_lock = threading.Lock()
_loaded: dict[str, ctypes.CDLL] = {}


class CompileException(Exception):
    """The compiler refused a kernel; its message says where, by the kernel's own `#line`s.

    Has the name, attributes and methods of `cupy.cuda.compiler.CompileException`.
    """

    def __init__(
        self, msg: str, source: str, name: str, options: Sequence[str], backend: str = CXX
    ) -> None:
        self._msg = msg
        self.source = source
        self.name = name
        self.options = options
        self.backend = backend
        super().__init__()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self._msg, self.source, self.name, self.options, self.backend)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self.get_message()

    def get_message(self) -> str:
        return self._msg

    def dump(self, f: TextIO) -> None:
        """Write the message and the numbered source to the open text file `f`."""
        f.write(f"{self.backend.upper()} compilation error: {self}\n-----\n")
        f.write(f"Name: {self.name}\nOptions: {' '.join(self.options)}\nCUDA source:\n")
        for number, line in enumerate(self.source.split("\n"), start=1):
            f.write(f"{number:5d} {line.rstrip()}\n")
        f.write("-----\n")
        f.flush()


def available() -> tuple[bool, str]:
    """Whether kernels can be compiled here, and if not, why."""
    if shutil.which(CXX) is None:
        return False, f"the simulated GPU needs the compiler {CXX}, which is not on PATH"
    return True, ""


def compile_shared(source: str, *, name: str, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile C++ `source` and load it; the same source, name and flags compile only once.

    `name` labels the cached file and the compiler's messages where the source has no `#line`.
    `flags` come after `BASE_FLAGS`, and then those of AddressSanitizer where that is wanted.
    Headers of this package are found by `#include "device.h"`; the one that is included first is
    precompiled.

    Raises CompileException with the compiler's message, RuntimeError where there is no compiler.
    """
    flags = (*flags, *sanitizer.FLAGS) if sanitizer.wanted() else tuple(flags)
    key = _key(source, name, *flags)
    library = _loaded.get(key)
    if library is not None:
        return library
    with _lock:
        if key not in _loaded:
            path = cache_folder() / f"{_file_name(name)}-{key}.so"
            if not path.is_file():
                _build(source, name, flags, path)
            _loaded[key] = _load(path, source, name, flags)
        return _loaded[key]


def host_options(options: Sequence[str]) -> tuple[str, ...]:
    """Those of NVRTC's `options` that mean something to g++, in g++'s spelling."""
    long_names = {
        "--define-macro": "-D",
        "--undefine-macro": "-U",
        "--include-path": "-I",
        "--std": "-std=",
        "-std": "-std=",
    }
    kept: list[str] = []
    words = iter(options)
    for word in words:
        name, equals, value = word.partition("=")
        if word in ("-I", "-D", "-U") or (word in long_names and not equals):
            kept.append(long_names.get(word, word) + next(words, ""))
        elif word[:2] in ("-I", "-D", "-U"):
            kept.append(word)
        elif name in long_names:
            kept.append(long_names[name] + value)
    # The headers need C++17, CuPy's default; an older standard accepts nothing that it refuses.
    return tuple(f for f in kept if f not in ("-std=c++11", "-std=c++14", "-std=c++03"))


@functools.cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: `GPUNET_SIM_CACHE`, else the user's cache folder."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(os.environ.get("GPUNET_SIM_CACHE") or Path(user_cache, "gpunet", "simgpu"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder.resolve()
    except OSError:
        pass  # a read-only home: compile anew in each process rather than fail
    return Path(tempfile.mkdtemp(prefix="gpunet-simgpu-"))


def _build(source: str, name: str, flags: tuple[str, ...], path: Path) -> None:
    includes = [f"-I{HEADER_FOLDER}"]
    header = _FIRST_INCLUDE.search(source)
    if header is not None and (HEADER_FOLDER / header[1]).is_file():
        includes.insert(0, f"-I{_precompiled(header[1], flags)}")
    # A function declared and never defined is an error now, not a crash at the launch. Address
    # sanitizer's own functions, though, are only found in the running program.
    undefined = () if sanitizer.wanted() else ("-Wl,--no-undefined",)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as folder:
        file = Path(folder, f"{_file_name(name)}.cpp")
        file.write_text(source, encoding="utf-8")
        options = [*BASE_FLAGS, *flags, *includes, "-shared", *undefined]
        _run([*options, file.name, "-o", "kernel.so"], folder, source, name)
        os.replace(Path(folder, "kernel.so"), path)


def _precompiled(header: str, flags: tuple[str, ...]) -> Path:
    """The folder that holds `header` precompiled with these flags; made where it is missing."""
    folder = cache_folder() / f"headers-{_key('', header, *flags)}"
    target = folder / f"{header}.gch"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="build-") as build:
            options = [*BASE_FLAGS, *flags, f"-I{HEADER_FOLDER}", "-x", "c++-header"]
            output = Path(build, "header.gch")
            source = HEADER_FOLDER / header
            _run([*options, str(source), "-o", str(output)], build, source.read_text(), header)
            os.replace(output, target)
    return folder


def _run(arguments: list[str], folder: str, source: str, name: str) -> None:
    compiler = shutil.which(CXX)
    if compiler is None:
        raise RuntimeError(available()[1])
    try:
        done = subprocess.run(
            [compiler, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        message = f"{CXX} took longer than {TIMEOUT_SECONDS:.0f} s"
        raise CompileException(message, source, name, arguments) from error
    if done.returncode != 0:
        raise CompileException(done.stderr, source, name, arguments)


def _load(path: Path, source: str, name: str, flags: Sequence[str]) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CompileException(str(error), source, name, flags) from error


def _file_name(name: str) -> str:
    return re.sub(r"\W", "_", name)[:60] or "kernel"


def _key(*parts: str) -> str:
    text = "\0".join((*parts, *BASE_FLAGS, _compiler_version(), _headers_hash()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def _compiler_version() -> str:
    compiler = shutil.which(CXX)
    if compiler is None:
        raise RuntimeError(available()[1])
    command = [compiler, "-dumpfullversion", "-dumpmachine"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@functools.cache
def _headers_hash() -> str:
    digest = hashlib.sha256()
    for path in (cxx.HEADERS / "device.h", *sorted(HEADER_FOLDER.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()

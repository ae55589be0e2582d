"""Runs CUDA kernels on the CPU, thread by thread, and finds the errors a GPU would keep silent.

A kernel's text is preprocessed, its `__shared__` declarations are rewritten, and the result is
compiled against `emulator.h` into a library of its own. `scheduler.h`, one library for the whole
process, runs the threads of a block as fibers and the blocks one after another.

Found, with kernel, block, thread and source line (`KernelError`): a divergent barrier, two
different barriers, a shuffle or vote that lanes of its mask never reach, a mask that leaves its
caller out, a failed `assert`, too much shared memory. A missing barrier shows as wrong numbers,
because a warp runs as far ahead of the others as the barriers let it, and as NaN, because shared
memory is full of 0xff when a block begins. Memory errors: see `asan.py`.

Not found: races between blocks that no order of whole blocks shows, a warp's reconvergence
assumptions, spin locks between threads (they hang), and everything about speed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gpunet import cxx

from . import compiler
from .compiler import CompileException, compile_shared, host_options

ORDERS = ("forward", "reverse", "random")
STATIC_SHARED_LIMIT = 48 * 1024

_FLAGS = (
    "-pedantic-errors",  # an ambiguous call of an overload is an error, as for NVRTC,
    "-Wno-pedantic",  # but g++'s own extensions are not
    "-fno-strict-aliasing",  # `extern __shared__` arrays of different types are one memory
    "-fvisibility=protected",  # a name of the C library must not take a kernel's place
)
_ENTRY_FILE = "<kernel name>"
_MAX_PARAMETERS = 1024

# The scheduler's state is global: one launch at a time in the process.
_lock = threading.RLock()


class KernelError(RuntimeError):
    """A kernel did what CUDA leaves undefined; says which kernel, block, thread and line.

    `block` and `thread` are (x, y, z); `thread` is None where no single thread is to blame, and
    `line` is 0 where the error has no place in the source.
    """

    def __init__(
        self,
        message: str,
        kernel: str,
        block: tuple[int, int, int],
        thread: tuple[int, int, int] | None,
        file: str,
        line: int,
    ) -> None:
        self.kernel, self.block, self.thread = kernel, block, thread
        self.file, self.line = file, line
        place = f"{file}:{line}: " if line else ""
        who = f"block {block}" + (f", thread {thread}" if thread is not None else "")
        super().__init__(f"{place}kernel {kernel}, {who}: {message}")


class _Index(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]

    def as_tuple(self) -> tuple[int, int, int]:
        return self.x, self.y, self.z


class _Launch(ctypes.Structure):
    """`simgpu::Launch` of emulator.h."""

    _fields_ = [
        ("grid", _Index),
        ("block", _Index),
        ("dynamic_shared", ctypes.c_ulonglong),
        ("shared_limit", ctypes.c_ulonglong),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_ulonglong),
        ("body", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("thread", ctypes.c_void_p),
        ("failed_thread", _Index),
        ("failed_block", _Index),
        ("has_thread", ctypes.c_int),
        ("failed_line", ctypes.c_int),
        ("failed_file", ctypes.c_char * 256),
        ("message", ctypes.c_char * 768),
    ]


@dataclass
class _Schedule:
    order: str = "forward"
    seed: int = 0


def _schedule_wanted() -> _Schedule:
    """The order that `GPUNET_SIM_ORDER` asks for: "reverse", "random", "random:SEED"."""
    order, _, seed = os.environ.get("GPUNET_SIM_ORDER", "forward").partition(":")
    if order not in ORDERS:
        raise ValueError(f"GPUNET_SIM_ORDER must be one of {ORDERS}, not {order!r}")
    return _Schedule(order, int(seed or 0))


_schedule = _schedule_wanted()


@contextmanager
def schedule(order: str, seed: int = 0) -> Iterator[None]:
    """Run threads, warps and blocks in another order: "forward", "reverse" or "random".

    A right kernel gives the same result in every order (up to the rounding of its atomic sums). A
    missing barrier may be harmless in one of them, so run a kernel in several, or a whole suite
    with `GPUNET_SIM_ORDER=reverse` or `random:SEED`. Holds for all threads of the process.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS}, not {order!r}")
    with _lock:
        before = _schedule.order, _schedule.seed
        _schedule.order, _schedule.seed = order, seed
    try:
        yield
    finally:
        with _lock:
            _schedule.order, _schedule.seed = before


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: "p"ointer, "f"loating, "i"nteger or "o"ther, and its bytes."""

    kind: str
    size: int

    def __str__(self) -> str:
        names = {"p": "pointer", "f": "floating-point number", "i": "integer", "o": "struct"}
        return f"{names[self.kind]} of {self.size} bytes"


class Kernel:
    """One compiled kernel: its parameters, and how to launch it."""

    def __init__(self, library: ctypes.CDLL, number: int, name: str) -> None:
        self.name = name
        self._library = library  # keeps the code loaded
        self._run = library[f"simgpu_launch_{number}"]
        self.parameters = _parameters(library, number)
        self.is_extern_c = _is_extern_c(library, number, name)

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[bytes],
        *,
        dynamic_shared: int = 0,
        shared_limit: int = STATIC_SHARED_LIMIT,
    ) -> None:
        """Run every thread. `arguments` are the parameters' bytes, in order and of their sizes.

        Sizes are in threads and bytes and must be within CUDA's limits. `shared_limit` is for
        static and dynamic shared memory together. Raises KernelError.
        """
        sizes = [len(argument) for argument in arguments]
        if sizes != [parameter.size for parameter in self.parameters]:
            raise ValueError(f"{self.name}: arguments of {sizes} bytes for {self.parameters}")
        launch = _Launch(_Index(*grid), _Index(*block), dynamic_shared, shared_limit)
        memory, pointers = _place(arguments)
        with _lock:
            launch.order, launch.seed = ORDERS.index(_schedule.order), _schedule.seed
            scheduler = _scheduler()
            failed = self._run(
                ctypes.byref(launch),
                pointers,
                ctypes.c_void_p(scheduler.simgpu_scheduler()),
                scheduler.simgpu_run,
            )
        del memory  # until here the pointers needed it
        if failed:
            raise KernelError(
                launch.message.decode(errors="replace"),
                self.name,
                launch.failed_block.as_tuple(),
                launch.failed_thread.as_tuple() if launch.has_thread else None,
                launch.failed_file.decode(errors="replace"),
                launch.failed_line,
            )


def build(
    code: str, names: Sequence[str], *, options: Sequence[str] = (), file: str = "kernel.cu"
) -> dict[str, Kernel]:
    """Compile CUDA `code` and return its kernels `names` (`"f"`, or `"f<float, 32>"`).

    `options` are NVRTC's; those about names, paths and the language are obeyed, the others (about
    the GPU's code) ignored. Messages call the source `file`, unless it has `#line`s.

    Raises CompileException, and LookupError for a name that the code does not declare.
    """
    flags = host_options(options)
    text = rewrite_shared(_preprocess(code, flags, file))
    entries = "".join(f"SIMGPU_KERNEL({n}, {name})\n" for n, name in enumerate(names))
    source = f'#include <emulator.h>\n{text}\n#line 1 "{_ENTRY_FILE}"\n{entries}'
    language = tuple(flag for flag in flags if flag.startswith("-std="))
    try:
        library = compile_shared(source, name=file.removesuffix(".cu"), flags=(*_FLAGS, *language))
    except CompileException as error:
        _explain_missing(error, names)
        raise
    return {name: Kernel(library, n, name) for n, name in enumerate(names)}


# ---------------------------------------------------------------------------------------------
# From CUDA text to C++ text


def _preprocess(code: str, flags: Sequence[str], file: str) -> str:
    """Expand macros and includes, so that `__shared__` is found wherever it comes from."""
    found, reason = compiler.available()
    if not found:
        raise RuntimeError(reason)
    command = [shutil.which(compiler.CXX) or compiler.CXX, "-E", "-x", "c++", "-std=c++17"]
    command += [*flags, f"-I{cxx.HEADERS}", f"-I{compiler.HEADER_FOLDER}"]
    command += ["-imacros", "emulator.h", "-"]
    done = subprocess.run(
        command,
        input=f'#line 1 "{file}"\n{code}\n',
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode != 0:
        raise CompileException(done.stderr, code, file, flags)
    # What comes before are only the names of files on this machine.
    return done.stdout[done.stdout.index(f'# 1 "{file}"') :]


_STRING = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"
_SHARED = re.compile(
    rf"(?P<string>{_STRING})"
    r"|(?P<before>(?:\b(?:extern|static|volatile)\s+)*)\b__shared__\b(?P<declaration>[^;{}]*);"
)
_ALIGNMENT = re.compile(r"alignas\s*\([^()]*\)|__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_DECLARATOR = re.compile(r"(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<extents>(?:\[.*\])?)", re.S)


def rewrite_shared(text: str) -> str:
    """Rewrite the `__shared__` declarations of preprocessed `text`; line numbers stay.

    `__shared__ T a[N], b;` becomes `static simgpu::Shared<T[N]> a_...; auto &a = ...; ...`, and
    `extern __shared__ T s[];` a pointer to the block's dynamic shared memory. What cannot be read
    is left for the compiler to refuse.
    """
    return _SHARED.sub(_rewrite_declaration, text)


def _rewrite_declaration(match: re.Match[str]) -> str:
    if match["string"] is not None:
        return match[0]
    newlines = "\n" * match[0].count("\n")
    volatile = "volatile " if "volatile" in match["before"] else ""
    declaration = " ".join(_ALIGNMENT.sub(" ", match["declaration"]).split())
    declarators = [_DECLARATOR.fullmatch(part) for part in _split(declaration)]
    first = declarators[0]
    if first is None or not first["type"].strip():
        return match[0]
    type_name = volatile + first["type"].strip()
    if "extern" in match["before"]:
        pointer = f"{type_name} *&{first['name']}"
        cast = f"reinterpret_cast<{type_name} *&>(simgpu::self.dynamic_shared)"
        return f"{pointer} = {cast};{newlines}"
    out = []
    for part in declarators:
        if part is None:
            return match[0]
        own_type = type_name if part is first else type_name.rstrip("* ") + part["type"]
        storage = f"simgpu_shared_{part['name']}"
        out.append(f"static simgpu::Shared<{own_type}{part['extents']}> {storage}; ")
        out.append(f"auto &{part['name']} = {storage}.value(); ")
    return "".join(out) + newlines


def _split(declaration: str) -> list[str]:
    """The declarators between the commas that stand outside brackets."""
    parts, depth, square, start = [], 0, 0, 0
    for i, character in enumerate(declaration):
        square += (character == "[") - (character == "]")
        if square == 0:
            depth += (character in "(<") - (character in ")>")
        if character == "," and depth == 0 and square == 0:
            parts.append(declaration[start:i].strip())
            start = i + 1
    return [*parts, declaration[start:].strip()]


def _explain_missing(error: CompileException, names: Sequence[str]) -> None:
    """Raise LookupError where it is the entry of a kernel's name that fails to compile."""
    place = re.search(r"^(.*?):(\d+):\d+: (?:fatal )?error:", error.get_message(), re.M)
    if place is not None and place[1] == _ENTRY_FILE:
        raise LookupError(names[int(place[2]) - 1]) from error


# ---------------------------------------------------------------------------------------------
# Libraries and memory


@functools.cache
def _scheduler() -> ctypes.CDLL:
    library = compile_shared("#include <scheduler.h>\n", name="scheduler", flags=("-w",))
    library.simgpu_scheduler.restype = ctypes.c_void_p
    return library


def _parameters(library: ctypes.CDLL, number: int) -> tuple[Parameter, ...]:
    kinds = ctypes.create_string_buffer(_MAX_PARAMETERS)
    sizes = (ctypes.c_size_t * _MAX_PARAMETERS)()
    count = library[f"simgpu_describe_{number}"](kinds, sizes, _MAX_PARAMETERS)
    return tuple(Parameter(chr(kinds.raw[i]), sizes[i]) for i in range(count))


def _is_extern_c(library: ctypes.CDLL, number: int, name: str) -> bool:
    """Whether the kernel's symbol is its plain name, which is what CUDA looks it up by."""
    address = library[f"simgpu_address_{number}"]
    address.restype = ctypes.c_void_p
    try:
        symbol = ctypes.cast(library[name], ctypes.c_void_p).value
    except (AttributeError, ValueError):
        return False
    return bool(symbol == address())


def _place(arguments: Sequence[bytes]) -> tuple[object, object]:
    """Copy the arguments to 16-byte aligned places: the memory, and the array of pointers to it."""
    offsets, end = [], 0
    for argument in arguments:
        offsets.append(end)
        end += -(-len(argument) // 16) * 16
    memory = ctypes.create_string_buffer(end + 16)
    start = -(-ctypes.addressof(memory) // 16) * 16
    for offset, argument in zip(offsets, arguments, strict=True):
        ctypes.memmove(start + offset, argument, len(argument))
    return memory, (ctypes.c_void_p * (len(offsets) + 1))(*(start + o for o in offsets))

"""Programs that NVRTC is asked to compile, compiled by g++: the callback behind our libnvrtc.

The text is preprocessed with the emulator's macros, `__shared__` is rewritten, and a table of the
kernels is added: the address of each, its parameters, and an entry that unpacks them and runs it.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from gpunet import cxx

from . import rewriting, sanitizer
from .modes import chosen

FOLDER = Path(__file__).resolve().parent
SHIMS = FOLDER / "include"
PLAIN, LENIENT, FLUSHES = 1, 2, 4  # emulator_types.h
FLAGS = (
    "-O2",
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-gnu-unique",  # else the loader merges the statics of two kernels' templates
    "-U_FORTIFY_SOURCE",  # fibers jump between stacks, which fortified longjmp refuses
    "-fno-strict-aliasing",
    "-fvisibility=protected",  # a kernel named like a function of the C library is the kernel
    f"-I{cxx.HEADERS}",
    f"-I{FOLDER}",
)
QUIET = ("-w",)  # CuPy's own text
STRICT = (
    "-Wunused-variable",
    "-pedantic-errors",
    "-Wno-pedantic",
)  # an ambiguous overload is an error, as for NVRTC
ALONE = "simgpu_kernel_"
MEND = "run this test on a GPU (mark it `gpu`)"
ABSENT = {"<<<": "kernels launched by kernels", "namespace cub": "CUB's templates"}
SM = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 101, 103, 110, 120, 121)
LINK = ("-shared", "-Wl,-z,now")
Headers = Sequence[tuple[str, str]]


def compile_program(
    source: str,
    headers: Headers,
    options: Sequence[str],
    expressions: Sequence[str],
    is_cupys_own: bool = False,
) -> Path:
    """The file of the compiled program. CompileError with the compiler's message, in which the text
    is called by its first kernel: k.cu.

    headers: (name, text) of those that came with the program. expressions: names of kernels and
    variables, templates' instances above all, whose symbols are wanted. is_cupys_own: its kernels
    may do what hardware allows, and CUDA's guide does not.
    """
    architecture = next(filter(None, map(_ARCHITECTURE.fullmatch, options)), None)
    if architecture and int(architecture[1]) not in SM:
        raise cxx.CompileError(f"nvrtc: error: invalid value for {architecture[0]}")
    if not source.strip():  # CuPy asks what the preprocessor is, for the keys of its cache
        return _text_file(f"// simulated GPU {_version()}\n")
    first = _FIRST.search(source)
    name = f"{first[1] if first else 'kern'}.cu"
    flags = [flag for flag in host_options(options) if not _is_toolkit(flag)]
    foreign = [f for f in flags if f.startswith("-I") and not _is_cupys(Path(f[2:]))]
    lenient = LENIENT if is_cupys_own else 0
    made = functools.partial(_program, source, name, headers, flags, expressions, options, lenient)
    warnings = STRICT if foreign or "cupy/" not in source else QUIET
    key = [source, repr(headers), repr(options), repr(expressions), repr(lenient), _version()]
    try:
        if foreign:  # their files may change: the text itself is the key
            return _build(made(), name, flags, warnings, "")
        return _build(made, name, flags, warnings, "\0".join(key))
    except cxx.CompileError as error:
        raise cxx.CompileError(_explained(str(error))) from None


def _explained(message: str) -> str:
    """g++'s message in NVRTC's words, and what to do where the program is not at fault."""
    message, missing = _MISSING.subn(r'error: cannot open source file "\1"', message)
    if missing:
        message += f"the simulated GPU has no headers of CUDA's toolkit, nor the host's: {MEND}\n"
    if _NO_PTX.search(message):
        message += f"the simulated GPU has no PTX instructions (asm): {MEND}\n"
    return message


def _build(
    text: str | Callable[[], str],
    name: str,
    flags: Sequence[str],
    warnings: Sequence[str],
    key: str,
) -> Path:
    undefined = () if sanitizer.wanted() else ("-Wl,--no-undefined",)
    flags = (*FLAGS, *_arithmetic(), _language(flags), *warnings, *LINK, *undefined)
    return cxx.build(text, name=name.removesuffix(".cu"), flags=flags, key=key)


def _program(
    source: str,
    name: str,
    headers: Headers,
    flags: Sequence[str],
    expressions: Sequence[str],
    options: Sequence[str],
    lenient: int,
) -> str:
    text = _preprocessed(rewriting.before_macros(source), name, headers, flags)
    for sign, what in ABSENT.items():
        if sign in text:
            raise cxx.CompileError(f"the simulated GPU has no {what}: {MEND}")
    before, text = _cut(text, name)
    header = _precompiled(_language(flags), before)
    text, kernels = _apart(rewriting.after_macros(text), find_kernels(text))
    text = _GLOBAL.sub(" ", text)
    waits = any("simgpu::" in part.replace(_FAIL, "") for part in (before, text))
    how = "launch" if waits else "launch_plain"
    if not waits and chosen().order == "forward" and not _returns_from_a_loop(text):
        looped, loops = _FOR.subn(_plain_loop, text)
        if loops and not _THREAD.search(looped):  # nothing else asks which thread it is
            text, how = looped, "launch_loop"
    flush = any(option.replace(" ", "") in ("-ftz=true", "--ftz=true") for option in options)
    fast = any("use_fast_math" in option for option in options)
    setting = lenient | (0 if waits else PLAIN) | (FLUSHES if flush or fast else 0)
    has_arrays = "class CArray" in before + text
    table = _entries(kernels, expressions, how, setting, has_arrays)
    return f'#include "{header}"\n{text}\n#line 1 "<name expression>"\n{table}'


def _cut(text: str, name: str) -> tuple[str, str]:
    """The headers that a program of CuPy's begins with, which many have in common, and the rest."""
    ends = list(re.finditer(rf'^# (\d+) "{name}" 2$', text, re.MULTILINE))
    before = text[: ends[-1].start()] if ends else ""
    whole = before.count("{") == before.count("}") and "__global__" not in before
    if not whole or "cupy/" not in before:
        return "", text
    return before, f'#line {ends[-1][1]} "{name}"{text[ends[-1].end() :]}'


# ---------------------------------------------------------------------------------------------
# Options and headers


def host_options(options: Sequence[str]) -> tuple[str, ...]:
    """Those of NVRTC's `options` that mean something to g++, in g++'s spelling."""
    long_names = {"--define-macro": "-D", "--undefine-macro": "-U", "--include-path": "-I"}
    kept: list[str] = []
    words = iter(options)
    for word in words:
        name, equals, value = word.partition("=")
        if word in ("-I", "-D", "-U"):
            kept.append(word + next(words, ""))
        elif word[:2] in ("-I", "-D", "-U"):
            kept.append(word)
        elif name in long_names:
            kept.append(long_names[name] + (value if equals else next(words, "")))
        elif name in ("-std", "--std"):
            kept.append(f"-std={value if equals else next(words, '')}")
    # The headers need C++17; an older standard accepts nothing that it refuses.
    return tuple(f for f in kept if f not in ("-std=c++11", "-std=c++14", "-std=c++03"))


def _language(flags: Sequence[str]) -> str:
    return next((f for f in reversed(flags) if f.startswith("-std=")), "-std=c++17")


def _arithmetic() -> tuple[str, ...]:
    """Products and sums as two roundings, as NumPy's are, or fused as on a GPU."""
    asan = sanitizer.FLAGS if sanitizer.wanted() else ()
    if chosen().arithmetic != "gpu":
        return ("-ffp-contract=off", *asan)
    fused = ("-mfma",) if _has_fma() else ()
    return ("-ffp-contract=fast", *fused, "-DSIMGPU_GPU_ARITHMETIC", *asan)


@functools.cache
def _has_fma() -> bool:
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    return " fma " in Path("/proc/cpuinfo").read_text()


def _is_toolkit(flag: str) -> bool:
    """Whether the flag names NVIDIA's headers, which are not for g++ and not needed."""
    return flag.startswith("-I") and Path(flag[2:], "cuda_runtime_api.h").exists()


def _is_cupys(folder: Path) -> bool:
    """Whether what lies there changes only with CuPy's version."""
    return {"cupy", "nvidia", "simgpu"} & set(folder.parts) != set()


@functools.cache
def _version() -> str:
    """Of all that a program's text is made with."""
    digest = hashlib.sha256(repr((FLAGS, _arithmetic(), chosen().order)).encode())
    for path in sorted([*FOLDER.rglob("*.h"), *FOLDER.glob("*.py"), cxx.HEADERS / "device.h"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _text_file(text: str) -> Path:
    path = cxx.cache_folder() / f"preprocessor-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not path.exists():
        path.write_text(text)
    return path


@functools.lru_cache(maxsize=16)
def _precompiled(language: str, more: str) -> Path:
    """The emulator's header, and `more` behind it, as g++ reads it in no time."""
    headers = [*sorted(FOLDER.glob("*.h")), cxx.HEADERS / "device.h"]
    flags = (*FLAGS, *_arithmetic(), language, "-x", "c++-header")
    text = f'#include "emulator.h"\n{rewriting.after_macros(more)}\n'
    made = cxx.build(text, name="emulator", flags=flags, headers=headers, suffix=".h.gch")
    return made.with_suffix("")


def _preprocessed(source: str, name: str, headers: Headers, flags: Sequence[str]) -> str:
    """Macros and includes expanded, so that `__shared__` is found wherever it comes from."""
    with tempfile.TemporaryDirectory(prefix="gpunet-") as folder:
        for path, text in headers:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        # Without __GNUC__ NVIDIA's libcu++, which CuPy ships, takes the compiler for NVRTC.
        command = ["-E", "-x", "c++", _language(flags), "-DSIMGPU_PREPROCESS", "-U__GNUC__"]
        command += ["-nostdinc", "-nostdinc++"]  # NVRTC finds no header of the host's either
        command += [f"-I{SHIMS}"]
        command += [f"-I{cxx.HEADERS}", f"-I{FOLDER}", f"-I{folder}"]
        command += [flag for flag in flags if not flag.startswith("-std=")]
        command += [*_arithmetic(), "-imacros", "emulator.h", "-"]
        done = cxx.run(command, text=f'#line 1 "{name}"\n{source}\n')
    return done[done.index(f'# 1 "{name}"') :]


# ---------------------------------------------------------------------------------------------
# Kernels


class Kernel(NamedTuple):
    name: str
    is_template: bool
    threads: int  # of its __launch_bounds__
    at_file_scope: bool


_TOKENS = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<line>^\#[^\n]*$)|(?P<open>\{)|(?P<close>\})'
    r"|(?P<semi>;)|(?P<global>\b__global__\b)",
    re.MULTILINE,
)
_ARCHITECTURE = re.compile(r"(?:-arch|--gpu-architecture)=(?:sm|compute)_(\d+)[af]?")
_FAIL = "simgpu::scheduler->fail((simgpu::Site"  # asks for no other thread
_FIRST = re.compile(r"\b__global__\b[\w\s]*?(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")
_NAME = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*\(")
_BOUNDS = re.compile(r"__launch_bounds__\s*\(\s*(\d+)")
_GLOBAL = re.compile(
    r"\b__launch_bounds__\s*\([^()]*(?:\([^()]*\)[^()]*)*\)|\b__global__\b", re.DOTALL
)
# CuPy's CUPY_FOR, expanded.
_FOR = re.compile(
    r"for \(ptrdiff_t (?P<i>\w+) = static_cast<ptrdiff_t>\(blockIdx\.x\) \* blockDim\.x \+ "
    r"threadIdx\.x; (?P=i) < (?P<n>\([^;]*\)); (?P=i) \+= static_cast<ptrdiff_t>\(blockDim\.x\) "
    r"\* gridDim\.x\)"
)
_MISSING = re.compile(r"fatal error: (.*): No such file or directory")
_NO_PTX = re.compile(r"'asm'|no such instruction")  # what g++ and its assembler say
_THREAD = re.compile(r"\b(?:threadIdx|blockIdx|blockDim|gridDim)\b")


def _returns_from_a_loop(text: str) -> bool:
    """A thread may end in the midst of CUPY_FOR, which must not end those behind it."""
    for match in _FOR.finditer(text):
        depth, start = 0, match.end()
        for brace in re.finditer(r"[{}]", text[start:]):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                if re.search(r"\breturn\b", text[start : start + brace.start()]):
                    return True
                break
    return False


def _plain_loop(match: re.Match[str]) -> str:
    i = match["i"]
    return f'_Pragma("GCC ivdep") for (ptrdiff_t {i} = 0; {i} < {match["n"]}; ++{i})'


def find_kernels(text: str) -> list[Kernel]:
    """Every `__global__` function."""
    scopes: list[bool] = []  # whether each open brace leaves a name usable without qualification
    last = 0
    found: dict[tuple[str, bool], Kernel] = {}
    for match in _TOKENS.finditer(text):
        kind = match.lastgroup
        before = text[last : match.start()]
        if kind == "open":
            scopes.append(bool(re.search(r'extern\s+"C"\s*$', before.strip())))
        elif kind == "close" and scopes:
            scopes.pop()
        elif kind == "global":
            kernel = _kernel(before, text[match.end() : match.end() + 2000], all(scopes))
            if kernel:
                earlier = found.get(kernel[:2])
                threads = min(kernel.threads, earlier.threads) if earlier else kernel.threads
                found[kernel[:2]] = kernel._replace(threads=threads)
        if kind in ("open", "close", "semi", "line"):
            last = match.end()
    return list(found.values())


def _apart(text: str, kernels: list[Kernel]) -> tuple[str, list[Kernel]]:
    """Kernels that share their name with another function get one of their own, which modules.cpp
    knows: the address of one of several functions cannot be taken without its type.
    """
    found = []
    for kernel in kernels:
        own = re.compile(rf"(\b__global__\b[^;{{}}]*?)\b{kernel.name}(?=\s*\()")
        others = len(re.findall(rf"\b{kernel.name}\s*\(", text)) > len(own.findall(text))
        if others and kernel.at_file_scope and not kernel.is_template:
            text = own.sub(rf"\1{ALONE}{kernel.name}", text)
            kernel = kernel._replace(name=ALONE + kernel.name)
        found.append(kernel)
    return text, found


def _kernel(before: str, rest: str, at_file_scope: bool) -> Kernel | None:
    words = {"__launch_bounds__", "__attribute__", "alignas"}
    name = next((m for m in _NAME.finditer(rest) if m["name"] not in words), None)
    if name is None:
        return None
    bounds = _BOUNDS.search(before + rest[: name.start()])
    threads = min(1024, int(bounds[1])) if bounds else 1024
    return Kernel(name["name"], "template" in before, threads, at_file_scope)


def _entries(
    kernels: Sequence[Kernel], expressions: Sequence[str], how: str, flags: int, has_arrays: bool
) -> str:
    """The table that modules.cpp reads, and the addresses of what the expressions name."""
    rows = [
        f"SIMGPU_ENTRY(nullptr, {k.threads}, {flags}, {how}, {k.name})"
        for k in kernels
        if k.at_file_scope and not k.is_template
    ]
    threads = {kernel.name: kernel.threads for kernel in kernels}
    named = []
    for expression in expressions:
        plain = expression.strip().removeprefix("&").strip()
        base = plain.partition("<")[0].strip().rpartition("::")[2]
        named.append(f"(void *)&({plain}),")
        if base in threads:
            text = plain.replace("\\", "\\\\").replace('"', '\\"')
            rows.append(f'SIMGPU_ENTRY("{text}", {threads[base]}, {flags}, {how}, {plain})')
    return "\n".join(
        [
            _ARRAY_KIND if has_arrays else "",
            'extern "C" {',
            "extern const simgpu::Entry simgpu_entries[] = {",
            *rows,
            "{}};",
            f"extern const int simgpu_entry_count = {len(rows)};",
            f"extern void *const simgpu_named[] = {{{' '.join(named)} nullptr}};",
            "}",
        ]
    )


_ARRAY_KIND = """namespace simgpu {
template <class T, int n, bool c, bool i> constexpr char kind_of<CArray<T, n, c, i>> = 'a';
}"""

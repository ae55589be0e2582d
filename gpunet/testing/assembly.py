"""What the text of a compiled kernel tells: NVRTC's PTX, and the machine code (SASS) of one GPU.

The SASS comes from nvdisasm, a program of the CUDA toolkit, on PyPI as nvidia-cuda-nvdisasm.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ARCHITECTURE = "90"  # whose machine code is read
TIMEOUT = 60.0  # seconds
RARE = 8  # instructions at most to prepare a call that is rarely needed
PREFIX = r"^\s*(?:@!?%\w+\s+)?"  # of a PTX instruction: its predicate
DOUBLE = re.compile(r"^\s*[^.\s/].*\.f64\b.*$", re.MULTILINE)  # no declarations
ONE = re.compile(rf"{PREFIX}ld(?:\.\w+)*\.global(?:\.\w+)*\.[fbus]32\s.*\[(%\w+)[^]]*\]", re.M)
VECTOR = re.compile(r"\b(?:double|float|u?long(?:long)?|u?int|u?short|u?char)[248]\b|\balignas\b")
SCALAR_LOADS = "scalar loads:"  # in a comment of a kernel with vectors: which are wanted, and why
INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]+)\*/\s+(?:@(!?\w+)\s+)?([A-Z][\w.]*)(.*?);", re.M)
LABEL = re.compile(r"^(\.L_x_\d+):", re.M)
TARGET = re.compile(r"`\((\.L_x_\d+)\)")
BITS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}  # 32 without a word


# PTX


def doubles(ptx: str) -> str:
    """The first instruction that computes in float64, or nothing."""
    found = DOUBLE.search(ptx)
    return " ".join(found[0].split()) if found else ""


def names_vectors(text: str) -> bool:
    """Whether a kernel's CUDA text claims to move vectors (float4), and nothing else."""
    return VECTOR.search(text) is not None and SCALAR_LOADS not in text


def narrow_load(ptx: str) -> str:
    """The first load of 32 bits from global memory at an address that is each thread's own: an
    element of an array, and no number that all threads share. Nothing if there is none.
    """
    own = _own_to_a_thread(ptx)
    for found in ONE.finditer(ptx):
        if found[1] in own and ".v" not in found[0].split("[")[0]:
            return " ".join(found[0].split())
    return ""


def _own_to_a_thread(ptx: str) -> set[str]:
    """The registers whose values come from the thread's number."""
    made = []
    for line in ptx.splitlines():
        found = re.match(rf"{PREFIX}([a-z][\w.]*)\s+(\{{[^}}]*\}}|[^,;]*),(.*)", line)
        if found and not found[1].startswith(("st.", "red.", "bra", "setp.ex")):
            made.append((re.findall(r"%\w+", found[2]), re.findall(r"%\w+", found[3])))
    own = {"%tid", "%laneid"}
    while True:
        more = {name for names, given in made if own.intersection(given) for name in names}
        if more <= own:
            return own
        own |= more


# SASS

Code = list[tuple[int, str, str, str]]  # address, predicate, name, operands


@dataclass(frozen=True)
class Sass:
    """What the kernel's own code holds: the instructions on the longest way through it, loops taken
    once, and how many of them load and store global memory, by their width in bits ({"32": 15}).

    Left out is what is there for rare cases only, such as the division of what is not finite.
    multiply_adds, among: in the basic block that has most of them, a product's, and how many
    instructions that block has.
    """

    instructions: int = 0
    loads: dict[str, int] = field(default_factory=dict)
    stores: dict[str, int] = field(default_factory=dict)
    multiply_adds: int = 0
    among: int = 0


def read_sass(text: str) -> Sass:
    """Read nvdisasm's text of one kernel. ValueError where it holds no instruction."""
    code = [(int(m[1], 16), m[2] or "", m[3], m[4]) for m in INSTRUCTION.finditer(_own_code(text))]
    if not code:
        raise ValueError(f"no instruction in nvdisasm's text:\n{text[:500]}")
    places = _labels(text)
    through = _longest_way(code, places)
    adds, among = _multiply_adds(code, set(places.values()))
    return Sass(len(through), _widths("LDG", through), _widths("STG", through), adds, among)


def _multiply_adds(code: Code, targets: set[int]) -> tuple[int, int]:
    """Of the basic block with most fused multiply-adds: these, and its instructions."""
    blocks: list[list[str]] = [[]]
    for at, _, name, _ in code:
        if at in targets:
            blocks.append([])
        if name != "NOP":
            blocks[-1].append(name.split(".")[0])
        if name in ("BRA", "EXIT"):
            blocks.append([])
    most = max((block.count("FFMA") + block.count("DFMA"), len(block)) for block in blocks)
    return most if most[0] else (0, 0)


def _longest_way(code: Code, places: dict[str, int]) -> list[str]:
    """The instructions from the first to an end; of two branches the longer one is taken."""
    ends = len(code)
    number = {at: k for k, (at, *_) in enumerate(code)}
    length, after = [0] * (ends + 1), [ends] * ends
    for k in reversed(range(ends)):
        name = code[k][2]
        later = [n for n in _next(code, k, places, number) if n > k]
        after[k] = max(later, default=ends, key=lambda n: length[n])
        length[k] = length[after[k]] + (name != "NOP")
    way, k = [], 0
    while k < ends:
        way.append(code[k][2])
        k = after[k]
    return [name for name in way if name != "NOP"]


def _next(code: Code, k: int, places: dict[str, int], number: dict[int, int]) -> list[int]:
    """What may come after the k-th instruction, by its number in `code`: an earlier one where a
    loop goes on.
    """
    at, predicate, name, rest = code[k]
    target = TARGET.search(rest)
    to = places.get(target[1], 0) if target else 0
    if name.startswith("BRX"):  # by a table: to any place behind it
        return [number[place] for place in places.values() if place in number]
    if name == "EXIT" and not predicate:
        return []
    if name == "BRA" and to in number:
        conditional = predicate or not rest.lstrip().startswith("`")
        jump = not conditional or _behind_a_call(code, at, to)
        return [number[to]] if jump else [k + 1, number[to]]
    return [k + 1]


def _own_code(text: str) -> str:
    """Without the functions that stand behind the kernel."""
    return text.split("@function\n        .size           $__internal")[0]


def _labels(text: str) -> dict[str, int]:
    """The address behind each label."""
    found = {}
    for label in LABEL.finditer(text):
        if after := INSTRUCTION.search(text, label.end()):
            found[label[1]] = int(after[1], 16)
    return found


def _behind_a_call(code: Code, at: int, to: int) -> int:
    """`to`, if what stands between is there to call a function that is rarely needed; else 0."""
    between = [name for place, _, name, _ in code if at < place < to]
    called = any(name.startswith("CALL") for name in between)
    return to if called and len(between) <= RARE else 0


def _widths(kind: str, names: list[str]) -> dict[str, int]:
    found: Counter[int] = Counter()
    for name in names:
        first, *parts = name.split(".")
        if first == kind:
            found[next((BITS[part] for part in parts if part in BITS), 32)] += 1
    return {str(bits): count for bits, count in sorted(found.items())}


# nvdisasm


def disassemble(cubin: bytes) -> str:
    """The SASS of a cubin from NVRTC. RuntimeError where nvdisasm refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin + b"\0")  # CuPy's getCUBIN takes the last byte for a string's end
        command = [str(nvdisasm()), "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"nvdisasm: {done.stderr.strip()}")
    return done.stdout


@cache
def nvdisasm() -> Path | None:
    """The program: from PyPI, on PATH, or in the CUDA toolkit that the environment names."""
    packages = [Path(folder, "nvidia") for folder in sys.path]
    bins = [str(one) for folder in packages for one in sorted(folder.glob("cu*/bin"), reverse=True)]
    toolkits = [os.environ[name] for name in ("CUDA_PATH", "CUDA_HOME") if name in os.environ]
    bins += [os.environ.get("PATH", ""), *(str(Path(folder, "bin")) for folder in toolkits)]
    found = shutil.which("nvdisasm", path=os.pathsep.join(bins))
    return Path(found) if found else None


@cache
def version() -> str:
    """nvdisasm's own, such as "13.5.37"; nothing without it."""
    if (program := nvdisasm()) is None:
        return ""
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"V([\d.]+)", done.stdout)
    return found[1] if found else done.stdout

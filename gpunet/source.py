"""A file under kernels/ read into its parts: the header is the signature, the rest is the formula.

    // Momentum (Polyak 1964), velocity form.
    // in:      T grad
    // scalars: lr, momentum
    // out:     T param, T velocity
    velocity = momentum * velocity - lr * grad;
    param += velocity;

Header lines: `in` and `out` (arrays), `numbers` (passed by value), `scalars` (optimizers: one row
of the scalar table, read as T), and for reductions `map`, `reduce`, `post`, `identity`. `T name if
option` exists only where that option is compiled in, and the body asks for it with `#if OPTION`;
`T name = start` is a state of an optimizer that does not start from 0. Nothing else repeats a
signature: inputs, numbers, outputs, in this order.

A line `// threads: 32, 8` makes the file a block kernel: the body is what each thread of a block of
that size does, and an array is written `T* x` (see `gpunet.kernel.BlockKernel`). A header line that
ends in a comma goes on in the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HEADER = re.compile(r"//\s*(threads|in|numbers|scalars|out|map|reduce|post|identity):\s*(.*?)\s*$")
INCLUDE = re.compile(r'\s*#include\s+"([^"]+)"\s*$')
ARGUMENT = re.compile(r"(raw\s+)?(\w+)(\*)?\s+(\w+)(?:\s+if\s+(\w+))?(?:\s*=\s*(\w+))?$")


@dataclass(frozen=True)
class Argument:
    """One array or number of a kernel: `raw T x`, `T* z` of a block kernel; of an optimizer
    `T m if centered`, and `T w1 = param`, which starts from what the name stands for.
    """

    type: str
    name: str
    raw: bool = False
    option: str | None = None
    pointer: bool = False
    start: str | None = None

    def declare(self, suffix: str = "") -> str:
        return f"{'raw ' if self.raw else ''}{self.type} {self.name}{suffix}"


@dataclass(frozen=True)
class Source:
    """A .cu file: signature, formula, and where the formula begins (for error messages).

    name: "optim/adam"; of a file outside kernels/ its own, as a C identifier. label: how messages
    and compiler errors name the file. threads: of a block, in a block kernel; else empty.
    """

    name: str
    path: Path
    inputs: tuple[Argument, ...]
    numbers: tuple[Argument, ...]
    scalars: tuple[str, ...]
    outputs: tuple[Argument, ...]
    reduction: dict[str, str]
    includes: tuple[str, ...]
    body: str
    label: str
    threads: tuple[int, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """The compile-time options that the header names, in order."""
        return tuple(dict.fromkeys(p.option for p in self.outputs if p.option))

    @property
    def signature(self) -> tuple[Argument, ...]:
        """Inputs, numbers, outputs: the order of a launch's arguments."""
        return (*self.inputs, *self.numbers, *self.outputs)

    def outputs_with(self, options: frozenset[str]) -> tuple[Argument, ...]:
        """The outputs that exist when `options` are compiled in."""
        return tuple(p for p in self.outputs if p.option is None or p.option in options)


@cache
def kernel_dir() -> Path:
    """The folder of the CUDA sources: in the wheel, in an editable install, or in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "kernels", here.parent / "kernels"):
        if (folder / "common.cuh").is_file():  # the mark that it is ours: `kernels` is a PyPI name
            return folder
    raise FileNotFoundError(
        f"gpunet's CUDA sources are missing: no kernels/common.cuh in {here} or {here.parent}; "
        "install gpunet again"
    )


def kernel_names() -> list[str]:
    """Every kernel, as "optim/adam", sorted."""
    root = kernel_dir()
    return sorted(p.relative_to(root).with_suffix("").as_posix() for p in root.rglob("*.cu"))


@dataclass
class _Lines:
    """The lines of a .cu file, sorted.

    header: the text of each header line by its name; where: its place, for messages.
    """

    label: str
    header: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    includes: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    last: str = ""

    def add(self, number: int, line: str) -> None:
        """ValueError for a second header line of a name."""
        if self.header.get(self.last, "").endswith(","):
            self.header[self.last] += " " + line.strip().removeprefix("//").strip()
        elif match := HEADER.match(line):
            if match[1] in self.header:
                raise ValueError(f"{self.label}, line {number}: a second line `// {match[1]}:`")
            self.last = match[1]
            self.header[self.last] = match[2]
            self.where[self.last] = f"{self.label}, line {number}"
        elif match := INCLUDE.match(line):
            self.includes.append(match[1])
        elif self.body or not re.match(r"\s*(//.*)?$", line):
            if not self.body:
                self.body.append(f'#line {number} "{self.label}"')
            self.body.append(line)

    def arguments(self, name: str, pointers: bool) -> tuple[Argument, ...]:
        """Of the header line `name`; none if it is not there."""
        where = self.where.get(name, self.label)
        return _arguments(self.header.get(name, ""), where, pointers)


@cache
def read(name: str | Path) -> Source:
    """Parse kernels/NAME.cu or, of a user's own, the .cu file at a Path; what it includes is taken
    from kernels/. ValueError, with file and line, for a header that cannot be read.
    """
    if isinstance(name, Path):
        path, label, name = name, name.name, re.sub(r"\W", "_", name.stem)
    else:
        path, label = kernel_dir() / f"{name}.cu", f"kernels/{name}.cu"
    lines = _Lines(label)
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        lines.add(number, line)
    header = lines.header
    if "out" not in header:
        raise ValueError(f"{label}: no line `// out: ...` in the header")
    threads = _threads(header.get("threads", ""), lines.where.get("threads", label))
    return Source(
        name=name,
        path=path,
        inputs=lines.arguments("in", pointers=bool(threads)),
        numbers=lines.arguments("numbers", pointers=False),
        scalars=tuple(s.strip() for s in header.get("scalars", "").split(",") if s.strip()),
        outputs=lines.arguments("out", pointers=bool(threads)),
        reduction={k: header[k] for k in ("map", "reduce", "post", "identity") if k in header},
        includes=tuple(lines.includes),
        body="\n".join(lines.body),
        label=label,
        threads=threads,
    )


def expand(includes: Iterable[str], after: Iterable[str] = ()) -> str:
    """The text of the included files, each once, marked so that a compiler error names it.

    after: files whose text is there already, with that of what they include.
    """
    seen: dict[str, str] = {}
    for name in after:
        _expand(name, seen)
    there = len(seen)
    for name in includes:
        _expand(name, seen)
    return "".join(list(seen.values())[there:])


def _expand(name: str, seen: dict[str, str]) -> None:
    if name in seen:
        return
    lines = [f'#line 1 "kernels/{name}"']
    for line in (kernel_dir() / name).read_text("utf-8").splitlines():
        if match := INCLUDE.match(line):
            _expand(match[1], seen)
        lines.append("" if match or line.startswith("#pragma once") else line)
    seen[name] = "\n".join(lines) + "\n"


def _threads(text: str, where: str) -> tuple[int, ...]:
    """`32, 8` as (32, 8): up to three sizes."""
    if not text:
        return ()
    if not re.fullmatch(r"[1-9]\d*(\s*,\s*[1-9]\d*){0,2}", text):
        raise ValueError(f"{where}: cannot read the threads {text!r}; write `32, 8`")
    return tuple(map(int, text.split(",")))


def _arguments(text: str, where: str, pointers: bool) -> tuple[Argument, ...]:
    """pointers: of a block kernel, whose arrays are written `T* x`."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = ARGUMENT.match(item)
        if match is None or bool(match[3]) != pointers or (pointers and any(match.group(1, 5, 6))):
            form = "`T* array`" if pointers else "`T name`"
            raise ValueError(f"{where}: cannot read the parameter {item!r}; write {form}")
        raw, kind, pointer, name, option, start = match.groups()
        found.append(Argument(kind, name, bool(raw), option, bool(pointer), start))
    return tuple(found)

"""Every kernel compiled as CuPy would compile it, for four architectures; needs no GPU.

    python -m gpunet.testing.compile_gate                 all kernels
    python -m gpunet.testing.compile_gate optim/adam      some
    python -m gpunet.testing.compile_gate --json FILE     what was found, for a program

Prints registers, shared memory, and of the machine code for sm_90 its instructions, those for each
element, and how many load and store global memory, by their bits ("1x64 4x32"). Then every problem,
as FILE:LINE where it has one: a kernel that does not compile; that spills registers or has a stack
frame (a thread's own memory: of an array with an index that is not known before it runs); that
computes in double on float32 arrays (a kernel whose header names a float64 array may); that names
vectors (float4) and yet loads 32 bits of an array at a time (one with a comment that begins `scalar
loads:` may, and says why there). g++ must have no warning either. Results are kept by the hash of
everything that goes into them. Exit status: 0 all well, 1 problems, 2 a kernel that does not exist,
3 NVRTC, nvdisasm or g++ is missing (the others have then had their say).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain, combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.cxx import available, cache_folder
from gpunet.files import write_atomically
from gpunet.kernel import BlockKernel, CudaText, Kernel
from gpunet.optim.kernel import MODELS, VECTORS, UpdateKernel
from gpunet.source import kernel_names
from gpunet.testing import assembly, gxx, nvrtc
from gpunet.testing.nvrtc import Measured, Program

ARCHITECTURES = ("75", "80", "90", "120")
DTYPES = ("float32", "float64")
FAILED, UNKNOWN, MISSING = 1, 2, 3  # exit status
PACKAGE = Path(__file__).resolve().parent.parent
TIMEOUT = 600.0  # seconds


@dataclass(frozen=True)
class Build:
    """One program of one kernel on one architecture.

    element_bits: of one element of all outputs, in an elementwise kernel; else 0. vectors: whether
    the text claims to move them.
    """

    kernel: str
    options: str
    part: str
    dtype: str
    arch: str
    measured: Measured
    may_double: bool
    element_bits: int
    vectors: bool

    @property
    def title(self) -> str:
        words = [f"kernels/{self.kernel}.cu", self.options, self.part, self.dtype]
        return " ".join(filter(None, [*words, f"sm_{self.arch}"]))

    @property
    def problem(self) -> str:
        """What is wrong with it, or nothing."""
        m = self.measured
        if m.error:
            return f"{self.title} does not compile:\n{m.error}"
        if m.spills:
            return f"{self.title} spills registers: {m.spills} bytes"
        if m.frame:
            return f"{self.title} has a stack frame: {m.frame} bytes"
        if m.doubles and self.dtype == "float32" and not self.may_double:
            return f"{self.title} computes in double: {m.doubles}"
        if m.narrow and self.dtype == "float32" and self.vectors:
            return f"{self.title} names vectors, but loads 32 bits of an array: {m.narrow}"
        return ""

    @property
    def per_element(self) -> float | None:
        """Instructions for each element that a thread takes on its way; None where not known."""
        stored = sum(int(bits) * count for bits, count in self.measured.stores.items())
        if not self.element_bits or not stored:
            return None
        return self.measured.instructions * self.element_bits / stored


@dataclass(frozen=True)
class Report:
    """The kernels examined, what became of them, what is wrong, and the compilers not there."""

    kernels: list[str]
    builds: list[Build]
    problems: list[str]
    missing: dict[str, str]


# Which kernels


def kernels() -> dict[str, Kernel]:
    """Every Kernel that gpunet makes, by the name of its file."""
    used = ("gpunet", "gpunet.train.finite", "gpunet.fused.resident", "gpunet.fused.on_cupy")
    for name in used:
        importlib.import_module(name)
    modules = [m for name, m in sorted(sys.modules.items()) if name.split(".")[0] == "gpunet"]
    found: dict[str, Kernel] = {}
    for value in [value for module in modules for value in vars(module).values()]:
        kernel = vars(value).get("kernel") if isinstance(value, type) else value
        if isinstance(kernel, Kernel):
            found[kernel.source.name] = kernel
    return found


def choices(kernel: Kernel) -> list[frozenset[str]]:
    """Every choice of the kernel's compile-time options, and an update's text for several models
    with all options on.
    """
    names = (*kernel.source.options, *([VECTORS] if isinstance(kernel, UpdateKernel) else []))
    picks = chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))
    found = [frozenset(pick) for pick in picks]
    models = [frozenset({VECTORS, MODELS, *kernel.source.options})]
    return found + models if isinstance(kernel, UpdateKernel) else found


def text_for(kernel: Kernel, options: frozenset[str], dtype: str) -> CudaText:
    """What CuPy gets; a block kernel has a text for each dtype."""
    return kernel.text(dtype=dtype) if isinstance(kernel, BlockKernel) else kernel.text(options)


def numbers(kernel: Kernel) -> frozenset[str]:
    """The names of the header's numbers; of an optimizer's kernel the place of its row, and where
    it is that of several models.
    """
    if isinstance(kernel, UpdateKernel):
        return frozenset({"at", "models_", "own_", "rest_"})
    return frozenset(p.name for p in kernel.source.numbers)


def may_double(kernel: Kernel) -> bool:
    """Whether the header names a float64 array: then float32 kernels may compute in double."""
    return any(p.type == "float64" for p in (*kernel.source.inputs, *kernel.source.outputs))


# NVRTC


def builds(chosen: dict[str, Kernel]) -> list[Build]:
    """Every program of every kernel on every architecture, compiled or remembered."""
    wanted = [
        (kernel, options, dtype, program)
        for kernel in chosen.values()
        for options in choices(kernel)
        for dtype in DTYPES
        for program in nvrtc.programs(text_for(kernel, options, dtype), dtype, numbers(kernel))
    ]
    found = remembered([(one[-1], arch) for one in wanted for arch in architectures(*one)])

    def build(k: Kernel, options: frozenset[str], dtype: str, p: Program, arch: str) -> Build:
        return Build(
            kernel=k.source.name,
            options=", ".join(sorted(options)),
            part=p.part,
            dtype=dtype,
            arch=arch,
            measured=located(k, found[p, arch]),
            may_double=may_double(k),
            element_bits=element_bits(k, options, dtype),
            vectors=assembly.names_vectors(p.text),
        )

    return [build(*one, arch) for one in wanted for arch in architectures(*one)]


def architectures(
    kernel: Kernel, options: frozenset[str], _: str, program: Program
) -> tuple[str, ...]:
    """Which it is compiled for: all, but for one what has the formulas that another text has too: a
    reduction's passes of CUB, and an update that takes one element a thread.
    """
    single = isinstance(kernel, UpdateKernel) and VECTORS not in options
    return (assembly.ARCHITECTURE,) if program.part or single else ARCHITECTURES


def element_bits(kernel: Kernel, options: frozenset[str], dtype: str) -> int:
    """Of one element of all outputs of an elementwise kernel; 0 for the other kinds."""
    outputs = kernel.source.outputs_with(options)
    if isinstance(kernel, BlockKernel) or kernel.source.reduction or any(p.raw for p in outputs):
        return 0
    return 8 * sum(np.dtype(dtype if p.type == "T" else p.type).itemsize for p in outputs)


def located(kernel: Kernel, measured: Measured) -> Measured:
    """An error in a reduction, whose four expressions have no lines of their own, gets one."""
    if not measured.error or not kernel.source.reduction:
        return measured
    line = gxx.header_line(kernel.source, "map")
    return Measured(error=f"kernels/{kernel.source.name}.cu:{line}: {measured.error}")


Job = tuple[Program, str]


def remembered(jobs: Iterable[Job]) -> dict[Job, Measured]:
    """Results from the cache, and for the rest from as many processes as there are cores."""
    files = {job: _file(job) for job in jobs}
    found = {job: m for job, file in files.items() if (m := _read(file)) is not None}
    rest = [job for job in files if job not in found]
    if rest:
        context = multiprocessing.get_context("spawn")  # NVRTC must not be forked
        with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
            for job, measured in zip(rest, pool.map(_compile, rest), strict=True):
                found[job] = measured
                write_atomically(files[job], json.dumps(asdict(measured)).encode())
    return found


def _compile(job: Job) -> Measured:
    return nvrtc.compile_program(*job)


def _file(job: Job) -> Path:
    program, arch = job
    everything = (_readers(), program.text, *program.options, *nvrtc.ALWAYS, arch)
    folder = cache_folder() / "compile_gate"
    folder.mkdir(exist_ok=True)
    return folder / f"{hashlib.sha256(chr(0).join(everything).encode()).hexdigest()[:32]}.json"


def _readers() -> str:
    """The programs and the text of the modules that compile, and read what comes out."""
    texts = [Path(str(module.__file__)).read_text("utf-8") for module in (nvrtc, assembly)]
    return "\0".join([nvrtc.versions(), *texts])


def _read(file: Path) -> Measured | None:
    try:
        return Measured(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):  # not there, or not ours
        return None


# g++


def warnings(chosen: dict[str, Kernel]) -> list[str]:
    """What g++ complains about, kernel by kernel and dtype by dtype."""
    jobs = [(k, options, d) for k in chosen.values() for options in choices(k) for d in DTYPES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda job: gxx.complaints(*job), jobs)
        return [
            f"kernels/{kernel.source.name}.cu {dtype}, g++:\n{text}"
            for (kernel, _, dtype), text in zip(jobs, found, strict=True)
            if text
        ]


# The command


def table(found: Sequence[Build]) -> str:
    """A line for each program: registers on each architecture, shared memory, and machine code."""
    heads = "".join(f"{f'sm_{arch}':>7}" for arch in ARCHITECTURES)
    heads += f" {'shared':>7} {'instr.':>7} {'an el.':>7}  {'loads':<20} {'stores':<12} options"
    lines = [f"{'kernel':<22} {'dtype':<8}{heads}"]
    for (kernel, dtype, options, part), group in groupby(
        found, lambda b: (b.kernel, b.dtype, b.options, b.part)
    ):
        row = {b.arch: b for b in group}
        used = [row[arch].measured.registers if arch in row else "-" for arch in ARCHITECTURES]
        registers = "".join(f"{count:>7}" for count in used)
        shared = max(b.measured.shared for b in row.values())
        one = row[assembly.ARCHITECTURE]
        each = "-" if one.per_element is None else f"{one.per_element:.0f}"
        code = f"{one.measured.instructions or '-':>7} {each:>7}"
        moved = f"{_widths(one.measured.loads):<20} {_widths(one.measured.stores):<12}"
        chosen = ", ".join(filter(None, [options, part]))
        line = f"{kernel:<22} {dtype:<8}{registers} {shared:>7} {code}  {moved} {chosen}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _widths(found: dict[str, int]) -> str:
    return " ".join(f"{count}x{bits}" for bits, count in found.items()) or "-"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gpunet.testing.compile_gate")
    parser.add_argument("names", nargs="*", help='kernels such as "optim/adam"; all by default')
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    options = parser.parse_args(arguments)
    known = kernels()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"no such kernel: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return UNKNOWN
    chosen = {name: known[name] for name in options.names or sorted(known)}
    report = examine(chosen)
    report.problems[:0] = [] if options.names else unused(known)
    print(
        "\n\n".join([*report.problems, f"{len(chosen)} kernels, {len(report.problems)} problems"])
    )
    for compiler, reason in report.missing.items():
        print(f"{compiler} not used: {reason}")
    if options.json:
        write_atomically(options.json, json.dumps(asdict(report)).encode())
    return FAILED if report.problems else MISSING if report.missing else 0


def examine(chosen: dict[str, Kernel]) -> Report:
    """Both compilers over the kernels; prints the table and the times."""
    missing = {"NVRTC": nvrtc.missing() or "", "g++": available()[1]}
    if assembly.nvdisasm() is None:
        missing["nvdisasm"] = "not found; pip install nvidia-cuda-nvdisasm"
    found: list[Build] = []
    problems: list[str] = []
    if not missing["g++"]:
        start = time.perf_counter()
        problems += warnings(chosen)
        print(f"g++ {' '.join(gxx.WARNINGS)}: {time.perf_counter() - start:.1f} s")
    if not missing["NVRTC"]:
        start = time.perf_counter()
        found = builds(chosen)
        seconds = time.perf_counter() - start
        print(f"{table(found)}\n{nvrtc.versions()}: {len(found)} programs, {seconds:.1f} s")
        problems += [b.problem for b in found if b.problem]
    return Report(list(chosen), found, problems, {k: v for k, v in missing.items() if v})


def unused(known: Iterable[str]) -> list[str]:
    """Files under kernels/ that no Kernel reads."""
    left = sorted(set(kernel_names()) - set(known))
    return [f"kernels/{name}.cu: no Kernel reads it" for name in left]


def in_own_process(*names: str, gpunet: Path = PACKAGE) -> tuple[int, str, dict[str, Any]]:
    """Run the gate where `cupy` is the real one, whatever it is here.

    gpunet: the package to examine, with its kernels/ inside or beside it.
    Returns the exit status, what was printed, and the report as `--json` writes it.
    """
    path = os.pathsep.join(filter(None, [str(gpunet.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, *names, "--json", str(report)],
            env=os.environ | {"PYTHONPATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        found = json.loads(report.read_bytes()) if report.is_file() else {}
    return done.returncode, done.stdout + done.stderr, found


if __name__ == "__main__":
    sys.exit(main())

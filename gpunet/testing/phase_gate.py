"""The kernels of a step in phases as NVRTC compiles them; needs no GPU.

    python -m gpunet.testing.phase_gate           W1, W2 and W5
    python -m gpunet.testing.phase_gate W1        some
    python -m gpunet.testing.phase_gate --json tests/testing/phases.json

writes the record that tests compare with the kernels as they are and with docs/machine_code.md,
whose table this prints.

Told of each phase, and of the kernel that makes many steps, are registers, shared memory, a
thread's own memory, and which share of its product's instructions multiplies and adds: of the basic
block that holds most of them. Then what the phase cannot be faster than (COMPUTED, not measured):
its multiply-adds by the float32 rate, its bytes by the rate of the L2 cache, of an H100 SXM.
Exit status: 0 all well, 1 a problem, 3 NVRTC or nvdisasm is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gpunet.bench.steps import training_step
from gpunet.bench.workloads import Workload, workloads
from gpunet.files import write_atomically
from gpunet.kernel import CudaText
from gpunet.phases import plan, program
from gpunet.phases.launch import cuts_of, options_of, places_of
from gpunet.phases.plan import Phase, Phases
from gpunet.testing import assembly, compile_gate, nvrtc

NAMES = ("W1", "W2", "W5")
SHARE = 0.75  # of a product's instructions that multiply and add
LARGE = 64  # multiply-adds in a row: a product, and not a sum over few
FLOPS, L2_BYTES = 66.9e12, 5.5e12  # a second, of an H100 SXM: 132 processors at 1.98 GHz


@dataclass(frozen=True)
class Row:
    """One kernel: of the machine code, and what its phase has to do.

    instructions: on the longest way, loops once. an_output: those of all threads, by what the phase
    leaves. multiply_adds, among: of the block that holds most. floor_us: computed, of one step.
    source: a hash of its code.
    """

    workload: str
    kernel: str
    phase: str
    blocks: int
    registers: int
    shared: int
    frame: int
    spills: int
    instructions: int
    an_output: float
    multiply_adds: int
    among: int
    floor_us: float
    source: str
    error: str = ""

    @property
    def share(self) -> float:
        return self.multiply_adds / self.among if self.among else 0.0

    @property
    def problem(self) -> str:
        """What is wrong with it, or nothing."""
        title = f"{self.workload} {self.kernel} ({self.phase})"
        if self.error:
            return f"{title} does not compile:\n{self.error}"
        if self.frame or self.spills:
            return f"{title} has a stack frame of {self.frame} bytes, spills {self.spills}"
        if self.multiply_adds >= LARGE and self.share < SHARE:
            return f"{title}: {self.share:.2f} of its product multiplies and adds, not {SHARE}"
        return ""


def written(workload: Workload) -> tuple[Phases, program.Program]:
    """The workload's phases, and their program; float32."""
    step = training_step(workload, "cpu")
    assert step.fused is not None
    found = plan.read(step.fused.plan, workload.batch)
    assert isinstance(found, Phases), found
    optimizer = step.optimizer
    parts = optimizer.parts()
    cuts, options = cuts_of([parts]), options_of(parts[0], optimizer.kernel)
    places = places_of(found.plan, optimizer.arenas[0], cuts)
    update = program.Update(optimizer.kernel, options, places, len(cuts))
    return found, program.write(found, update, np.float32)


def kernels(made: program.Program) -> Iterator[tuple[str, str]]:
    """Each kernel's name, and a text that has it alone; of that whose blocks keep tiles `kept`."""
    count = made.nodes.count('extern "C"')
    lines = made.nodes.splitlines()
    for k in range(count):
        kept = [n for n in lines if not n.startswith('extern "C"') or f" node_{k}(" in n]
        yield f"node_{k}", "\n".join(kept)
    yield "steps", made.steps
    if made.keeps:
        yield "kept", made.keeps


def source_of(text: str) -> str:
    """A hash of CUDA code, whatever its comments and its spaces are."""
    code = " ".join(re.sub(r"//.*", "", text).split())
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def sources(names: Sequence[str]) -> dict[tuple[str, str], str]:
    """Of each kernel of the workloads as it is written now, by both names."""
    known = workloads("cuda")
    return {
        (name, kernel): source_of(text)
        for name in names
        for kernel, text in kernels(written(known[name])[1])
    }


def rows(names: Sequence[str]) -> list[Row]:
    """Of the workloads: compiled, or remembered."""
    known = workloads("cuda")
    found = []
    for name in names:
        phases, made = written(known[name])
        texts = dict(kernels(made))
        jobs = {kernel: (_program(kernel, text), "90") for kernel, text in texts.items()}
        measured = compile_gate.remembered(list(jobs.values()))
        for k, kernel in enumerate(texts):
            m = measured[jobs[kernel]]
            phase = phases.phases[k] if kernel.startswith("node") else None
            if kernel == "kept":
                m = replace(m, shared=m.shared + made.kept)
            found.append(_row(name, kernel, phase, phases, m, source_of(texts[kernel])))
    return found


def _program(kernel: str, text: str) -> nvrtc.Program:
    """As CuPy gives it to NVRTC."""
    found = nvrtc.programs(CudaText("RawKernel", (text,), kernel, ""), "float32", frozenset())
    return found[0]


def _row(
    workload: str, kernel: str, phase: Phase | None, phases: Phases, m: nvrtc.Measured, source: str
) -> Row:
    all_phases = phases.phases if phase is None else (phase,)
    blocks = max(p.blocks or phases.rows for p in all_phases)
    outputs = sum(work_of(p, phases)[2] for p in all_phases)
    keeps = kernel == "kept"
    return Row(
        workload=workload,
        kernel=kernel,
        phase="all" if phase is None else " ".join([phase.name, *map(str, numbers(phase))]),
        blocks=blocks,
        registers=m.registers,
        shared=m.shared,
        frame=m.frame,
        spills=m.spills,
        instructions=m.instructions,
        an_output=m.instructions * plan.THREADS * blocks / outputs,
        multiply_adds=m.multiply_adds,
        among=m.among,
        floor_us=sum(floor_us(p, phases, keeps) for p in all_phases),
        source=source,
        error=m.error,
    )


def numbers(phase: Phase) -> list[int]:
    return [stage.index for stage in phase.stages]


def floor_us(phase: Phase, phases: Phases, keeps: bool = False) -> float:
    """Computed: what the phase takes at least, by its multiply-adds and its bytes."""
    adds, moved, _ = work_of(phase, phases, keeps)
    return max(2 * adds / FLOPS, 4 * moved / L2_BYTES) * 1e6


def work_of(phase: Phase, phases: Phases, keeps: bool = False) -> tuple[int, int, int]:
    """Multiply-adds, float32 numbers that all blocks read and write, and numbers that are left.

    keeps: W and the state of the first layer stay where they are, and x is read once a step.
    """
    n, stages = phases.rows, phase.stages
    first, last = stages[0], stages[-1]
    inputs, outputs, size = first.inputs, first.outputs, first.inputs * first.outputs
    if phase.name == "product":
        partial = n * outputs * first.chunks
        read = 0 if keeps and first.index == 0 else size
        return n * size, n * inputs * first.tiles + read + partial, partial
    if phase.name == "columns":
        return 0, n * outputs * (first.chunks + 2), n * outputs
    if phase.name == "back":
        blocks = phase.blocks or 1
        moved = n * last.outputs * blocks + outputs * last.outputs + 3 * n * outputs
        return n * outputs * last.outputs, moved, n * outputs
    if phase.name == "rows":
        small = sum(k.inputs * k.outputs for k in stages if not k.partial)
        left = n * sum(k.outputs for k in stages)
        return 2 * n * small, n * outputs * first.chunks + 2 * n * small + 2 * left, left
    sizes = sum(k.inputs * k.outputs for k in stages)
    moved = sum(n * k.outputs * k.chunks for k in stages)
    there = stages[1:] if keeps else stages
    moved += sum(n * k.inputs * k.tiles + 6 * k.inputs * k.outputs for k in there)
    return n * sizes, moved, sizes


HEAD = """
| workload | kernel | phase | blocks | registers | shared bytes | stack bytes | instructions | an output | share | floor, us, computed |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
""".strip()  # noqa: E501


def line(row: Row) -> str:
    """Of the table in docs/machine_code.md."""
    share = f"{row.share:.2f}" if row.multiply_adds >= LARGE else "-"
    cells = [row.workload, row.kernel, row.phase, row.blocks, row.registers, row.shared, row.frame]
    cells += [row.instructions, f"{row.an_output:.0f}", share, f"{row.floor_us:.2f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gpunet.testing.phase_gate")
    parser.add_argument("names", nargs="*", default=NAMES, help="of workloads")
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    options = parser.parse_args()
    missing = nvrtc.missing() or ("" if assembly.nvdisasm() else "nvdisasm is not there")
    if missing:
        print(missing)
        return compile_gate.MISSING
    found = rows(options.names)
    print("\n".join([HEAD, *map(line, found)]))
    problems = [row.problem for row in found if row.problem]
    print("\n".join([*problems, f"{len(found)} kernels, {len(problems)} problems"]))
    if options.json:
        text = json.dumps([asdict(row) for row in found], indent=1)
        write_atomically(options.json, f"{text}\n".encode())
    return compile_gate.FAILED if problems else 0


if __name__ == "__main__":
    sys.exit(main())

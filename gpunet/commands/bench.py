"""`gpunet bench`: what a step costs on this machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from gpunet.backend import cupy
from gpunet.bench import timing
from gpunet.bench.counting import counts
from gpunet.bench.workloads import Workload, chosen, modes, runner
from gpunet.commands import common
from gpunet.data import DataError
from gpunet.files import write_atomically

ROUNDS, FEW = 30, 5  # FEW: rounds of a whole epoch, or on the simulated GPU
ADAM_BYTES = 28  # a parameter: reads gradient, parameter, m and v, writes the last three
COPIED, MULTIPLIED = 10**8, 4096  # elements of the copy, rows of the square matrices


@click.command()
@click.argument("names", nargs=-1, metavar="[W1 ...]")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "sim"]),
    default="auto",
    show_default=True,
    help="auto is a GPU if one is usable; sim, the simulated GPU, counts and tells no time.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    help=f"Rounds of about {timing.ROUND_S * 1e3:.0f} ms.  [default: {ROUNDS}; {FEW} epochs]",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Fashion-MNIST's IDX files, for W6.  [default: random rows, as many]",
)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the figures there, too.",
)
def bench(
    names: tuple[str, ...], device: str, rounds: int | None, data: str | None, file: Path | None
) -> None:
    """Time the training steps W1 to W6 (all that suit the device, or those named).

    Prints microseconds a step (median and quartiles of the rounds) and what a step asks of the
    device: kernel launches, copies, waits, bytes allocated. docs/benchmarks.md says what each is.
    """
    with _place(device) as place, common.told():
        found = []
        try:
            listed = chosen(names, place)
            _check(file)
            for workload in listed:
                for one in measure(workload, place, rounds, data):
                    found.append(one)
                    click.echo(("" if len(found) > 1 else HEADER + "\n") + line(one))
        except DataError as error:
            common.fail(f"--data {error}")
        if file is not None:
            write_atomically(file, (json.dumps(found, indent=1) + "\n").encode())


@contextlib.contextmanager
def _place(device: str) -> Iterator[str]:
    """ "cpu", "cuda" or "sim", inside which `import cupy` gives what belongs to it."""
    if device != "sim":
        yield common.device(device)
        return
    from gpunet.testing import simgpu

    usable, reason = simgpu.available()
    if not usable:
        common.fail(f"--device sim: no simulated GPU: {reason}")
    with simgpu.activate():
        yield "sim"


def _check(file: Path | None) -> None:
    if file is not None and not file.absolute().parent.is_dir():
        common.fail(f"--json {file}: there is no folder {file.parent}")


def measure(
    workload: Workload, place: str, rounds: int | None = None, data: str | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each mode: the times, then the counts, of steps that are not timed."""
    device = "cpu" if place == "cpu" else "cuda"
    if rounds is None:
        rounds = FEW if workload.rows or place == "sim" else ROUNDS
    for mode in modes(workload, place):
        run, wait = runner(workload, device, mode, data), timing.waiter(device)
        steps = 1 if place == "sim" else workload.steps_a_round or timing.steps_in(run, wait)
        seconds = [timing.round_s(run, steps, wait) for _ in range(rounds)]
        low, median, high = (s * 1e6 for s in timing.quartiles(seconds))
        yield {
            "workload": workload.name,
            "device": place,
            "mode": mode,
            "us_per_step": median,
            **counts(run, place, workload.name, mode),
            "quartiles_us": [low, high],
            "rounds": rounds,
            "steps_a_round": steps,
            "what": workload.text,
            **(_shares(workload, median / 1e6) if place == "cuda" else {}),
        }


# Beside what the GPU can do


def _shares(workload: Workload, seconds: float) -> dict[str, float]:
    if workload.name.startswith("W4"):
        return {"share_of_copy": ADAM_BYTES * workload.parameters / seconds / _copy_rate()}
    if workload.name == "W3":
        return {"share_of_gemm": workload.flops / seconds / _gemm_rate()}
    return {}


def _copy_rate() -> float:
    """Bytes a second, read and written, of a copy on the device."""
    xp = cupy()
    source, target = xp.ones(COPIED, np.float32), xp.empty(COPIED, np.float32)
    return 2 * 4 * COPIED / _best(lambda: xp.copyto(target, source))


def _gemm_rate() -> float:
    """Floating-point operations a second of a float32 matrix product, as CuPy calls it."""
    xp, n = cupy(), MULTIPLIED
    a, out = xp.ones((n, n), np.float32), xp.empty((n, n), np.float32)
    return 2 * n**3 / _best(lambda: xp.matmul(a, a, out=out))


def _best(call: Callable[[], object]) -> float:
    """Seconds a call, the median of rounds."""

    def run(times: int) -> None:
        for _ in range(times):
            call()

    wait = timing.waiter("cuda")
    steps = timing.steps_in(run, wait)
    return timing.quartiles([timing.round_s(run, steps, wait) for _ in range(ROUNDS)])[1]


# What is printed

HEADER = (
    f"{'':4} {'device':6} {'mode':8} {'us/step':>10} {'quartiles':>21} {'launches':>8} "
    f"{'d2h':>4} {'h2d':>4} {'waits':>5} {'bytes':>12}"
)


def line(one: dict[str, Any]) -> str:
    """A record as a line of the table; "-" for what is not known, and no time for a simulation."""
    timed = one["device"] != "sim"
    low, high = one["quartiles_us"]
    time = f"{one['us_per_step']:,.1f}" if timed else "-"
    spread = f"{low:,.1f} to {high:,.1f}" if timed else "simulated: no time"
    counted = (
        f"{_known(one['launches']):>8} {_known(one['d2h_copies']):>4} "
        f"{_known(one['h2d_copies']):>4} {_known(one['synchronisations']):>5} "
        f"{_known(one['bytes_allocated']):>12}"
    )
    share = "".join(
        f"  {one[key]:.0%} of the {what}"
        for key, what in (("share_of_copy", "copy bandwidth"), ("share_of_gemm", "GEMM rate"))
        if key in one
    )
    where = f"{one['workload']:4} {one['device']:6} {one['mode']:8}"
    return f"{where} {time:>10} {spread:>21} {counted}{share}  {one['what']}"


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"

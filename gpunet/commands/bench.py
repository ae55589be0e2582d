"""`gpunet bench`: what a step costs on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gpunet import threads
from gpunet.bench import blas, places, timing
from gpunet.bench.measure import FEW, ROUNDS, measure
from gpunet.bench.workloads import OWN, Workload, chosen
from gpunet.commands import common, options
from gpunet.data import DataError
from gpunet.files import write_atomically


def _place(context: click.Context, option: click.Parameter, value: str) -> str:
    """Its choices are read when they are needed: they stand in files of installed packages."""
    return str(click.Choice(["auto", *places.names()]).convert(value, option, context))


@click.command()
@click.argument("names", nargs=-1, metavar="[W1 ...]")
@click.option(
    "--device",
    callback=_place,
    metavar="[auto|cpu|cuda|sim]",
    default="auto",
    show_default=True,
    help="auto is a GPU if one is usable; sim, the simulated GPU, counts and tells no time.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 10**6),
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
@options.count("--features", 64, "Numbers in a row, of a network of your own.")
@options.hidden("256,128")
@options.count("--classes", 10, "Its outputs.", least=2)
@options.activation
@options.batch_norm
@options.dropout
@options.optimizer
@options.batch_size
def bench(
    names: tuple[str, ...],
    device: str,
    rounds: int | None,
    data: str | None,
    file: Path | None,
    **network: Any,
) -> None:
    """Time the training steps W1 to W6 (all that suit the device, or those named), or one of a
    network of your own, by the words of `gpunet train` from --features on: with one of them that
    network alone, or beside those named.

    Prints microseconds a step (median and quartiles of the rounds) and what a step asks of the
    device: kernel launches, copies, waits, bytes allocated. docs/benchmarks.md says what each is.
    """
    name = common.device(device) if device in ("auto", "cpu", "cuda") else device
    found: list[dict[str, Any]] = []
    with common.mistakes(), places.at(name) as place:
        own = _own(network)
        listed = [*(chosen(names, name) if names or not own else ()), *own]
        _check(file)
        try:
            for one in (one for w in listed for one in measure(w, place, rounds, data)):
                if not found:
                    click.echo("\n".join([*(blas_here() if name == "cpu" else ()), HEADER]))
                click.echo(line(one, place.timed))
                found.append(one)
        except DataError as error:
            common.fail(f"--data {error}")
        if file is not None:
            write_atomically(file, (json.dumps(found, indent=1) + "\n").encode())


def _own(network: dict[str, Any]) -> list[Workload]:
    """The user's network, if any of its options was given."""
    source = click.get_current_context().get_parameter_source
    if all(source(option) is ParameterSource.DEFAULT for option in network):
        return []
    sizes = network.pop("features"), *network.pop("hidden"), network.pop("classes")
    return [Workload(OWN, sizes=sizes, batch=network.pop("batch_size"), **network)]


def _check(file: Path | None) -> None:
    if file is not None and not file.absolute().parent.is_dir():
        common.fail(f"--json {file}: there is no folder {file.parent}")


# What is printed


def blas_here() -> list[str]:
    """The BLAS that products run on, and a warning where it is held back."""
    return [f"BLAS: {', '.join(threads.blas()) or 'unknown'}", *filter(None, [blas.pinned()])]


HEADER = (
    f"{'':4} {'device':6} {'mode':10} {'us/step':>8} {'quartiles':>21} {'launches':>8} "
    f"{'kernels':>7} {'d2h':>4} {'h2d':>4} {'waits':>5} {'bytes':>12}"
)


def line(one: dict[str, Any], timed: bool) -> str:
    """A record as a line of the table; "-" for what is not known, and no time for a simulation."""
    low, high = one["quartiles_us"]
    time = f"{one['us_per_step']:,.1f}" if timed else "-"
    spread = f"{low:,.1f} to {high:,.1f}" if timed else "simulated: no time"
    counted = (
        f"{_known(one['launches']):>8} {_known(one['kernels']):>7} {_known(one['d2h_copies']):>4} "
        f"{_known(one['h2d_copies']):>4} {_known(one['synchronisations']):>5} "
        f"{_known(one['bytes_allocated']):>12}"
    )
    share = "".join(
        f"  {one[key]:.0%} of the {what}"
        for key, what in (("share_of_copy", "copy bandwidth"), ("share_of_gemm", "GEMM rate"))
        if key in one
    )
    where = f"{one['workload']:4} {one['device']:6} {one['mode']:10}"
    why = f"; not in phases: {one['not_in_phases']}" if "not_in_phases" in one else ""
    return f"{where} {time:>8} {spread:>21} {counted}{share}  {one['what']}{why}"


def _known(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"

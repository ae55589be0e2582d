"""`gpunet compare`: which optimizer for this problem?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from gpunet import progress, threads
from gpunet.commands import common, options, parse
from gpunet.data import Dataset
from gpunet.files import readable
from gpunet.outputs import Outputs
from gpunet.study import pictures
from gpunet.study.columns import room
from gpunet.study.compare import pool, table
from gpunet.study.compare.cache import Cache
from gpunet.study.compare.comparison import compare as summarise
from gpunet.study.compare.grid import Run, Setup, all_runs, grids
from gpunet.study.compare.report import About
from gpunet.study.compare.runs import Result
from gpunet.study.compare.verdict import judge
from gpunet.study.compare.write import FILES, write
from gpunet.study.words import say
from gpunet.train.interrupt import DeferredInterrupt

MOST_JOBS = 4  # each holds a copy of the data


@click.command()
@options.data
@options.optimizers("all")
@click.option(
    "--lr-grid",
    "given",
    callback=options.read(parse.grid),
    multiple=True,
    metavar="[NAME=]RATES",
    help="Learning rates: 0.001,0.01 or 1e-4:1 (half decades), for all optimizers or for NAME; "
    "may be repeated.  [default: four decades that suit each]",
)
@options.count("--seeds", 3, "Trainings at each learning rate.", most=1000)
@options.epochs(15)
@options.hidden("100,50")
@options.batch_size
@options.target
@options.label
@click.option(
    "--reach",
    type=float,
    metavar="NUMBER",
    help="Validation accuracy (0 to 1), or loss for numbers, that is good enough.  [default: 2 "
    "points below the best accuracy; 95% of the way to the best loss]",
)
@options.device
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help=f"Runs side by side on the CPU.  [default: its cores, at most {MOST_JOBS}]",
)
@options.out("gpunet-compare", "the report, the tables, the pictures and the finished runs")
def compare(
    data: str,
    optimizers: list[str],
    given: list[parse.Grid],
    seeds: int,
    epochs: int,
    hidden: tuple[int, ...],
    batch_size: int,
    reach: float | None,
    device: str,
    jobs: int | None,
    out: Path,
) -> None:
    """Train the same network on DATA with every optimizer at many learning rates, and say which
    one to use.

    DATA: "digits" (bundled), a folder of IDX files, a .csv or an .npz. Numbers as targets are
    scaled to mean 0 and deviation 1: their mean has a loss of 1. Writes report.html (one file,
    opens anywhere), table.csv, runs.csv and, with matplotlib, compare.png and compare.svg.
    Ctrl-C keeps the finished runs; the same command again continues, or only makes the report.
    """
    with common.mistakes():
        place = common.device(device)
        rates = grids(optimizers, given)
        dataset = common.dataset(data)
        _check(dataset, reach)
        setup = Setup(hidden, epochs, batch_size, place)
        if place == "cpu":
            pool.context()  # begins to load while the finished runs are read
        runs = all_runs(rates, seeds)
        with common.outputs(out, FILES) as folder:
            cache = Cache(out / "runs", setup, dataset)
            results, interrupted = _results(runs, setup, dataset, cache, jobs)
            if results and all(result.failed for result in results):
                common.fail(f"none of {len(results)} runs could be trained: {results[0].failed}")
            if results:
                _report(results, len(runs), reach, _about(data, dataset, setup), folder)
    if interrupted:
        kept = f"interrupted; {len(results)} of {len(runs)} runs are kept"
        click.echo(say(f"{kept}, and the same command continues"), err=True)
        sys.exit(130)


def _check(data: Dataset, reach: float | None) -> None:
    if not len(data.valid):
        raise ValueError(f"{data.name}: no validation rows to compare on")
    if reach is None:
        return
    classes = data.classes is not None
    if not (0 < reach <= 1 if classes else reach > 0):
        asked = "an accuracy above 0, at most 1" if classes else "a loss above 0"
        raise ValueError(f"--reach {reach:g}: give {asked}")


def _about(name: str, data: Dataset, setup: Setup) -> About:
    sizes = [data.features, *setup.hidden, data.outputs]
    known = Path(name).name or name
    return About(readable(known), len(data.train), len(data.valid), sizes, setup)


def _results(
    runs: Sequence[Run], setup: Setup, data: Dataset, cache: Cache, jobs: int | None
) -> tuple[list[Result], bool]:
    """Those that are there, then those that are missing; True if Ctrl-C cut them short."""
    cached = [(run, cache.load(run)) for run in runs]
    results = [result for _, result in cached if result is not None]
    missing = [run for run, result in cached if result is None]
    done_before = f"{len(results)} of {len(runs)} runs done before; training on {setup.device}"
    told = f"{done_before}{common.predicts(data)}"
    click.echo("\n".join(map(say, told.split("\n"))))
    side_by_side = None if setup.device == "cuda" else jobs or min(pool.cores(), MOST_JOBS)
    if not missing:
        return results, False
    with progress.bar(len(missing), unit="run") as bar:

        def done(result: Result) -> None:
            with DeferredInterrupt() as interrupt:  # what is stored is reported, too
                cache.store(result)
                results.append(result)
            bar.update()
            if interrupt.requested:
                raise KeyboardInterrupt

        try:
            pool.train_all(missing, setup, data, done, side_by_side, pictures.can_plot)
        except KeyboardInterrupt:
            return results, True
    return results, False


def _blas(setup: Setup) -> list[str]:
    """The libraries that made the products, without their threads, which change no bit."""
    if setup.device == "cuda":
        return ["cuBLAS"]
    return [one.split(", threads")[0] for one in threads.blas()]


def _report(
    results: Sequence[Result], planned: int, reach: float | None, about: About, out: Outputs
) -> None:
    comparison = summarise(results, planned, reach)
    verdict = judge(comparison, about.setup, about.valid_rows, _blas(about.setup))
    click.echo(f"\n{table.text(comparison, room())}\n\n{verdict.headline}")
    for finding in verdict.findings:
        click.echo(f"\n{finding.title}. {finding.text}")
    if comparison.done < planned:
        click.echo("\n" + say(f"Partial: {comparison.done} of {planned} runs are done."))
    files = write(comparison, verdict, about, out)
    written = ", ".join(readable(out.folder / name) for name in files)
    click.echo("\n" + say(f"written: {written}"))
    if not pictures.can_plot():
        click.echo(say("no compare.png and compare.svg: pip install 'gpunet[plot]' for matplotlib"))

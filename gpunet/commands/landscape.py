"""`gpunet landscape`: optimizers' paths over a landscape, as pictures and as an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpunet.commands import common, options, parse
from gpunet.files import readable
from gpunet.optim import OPTIMIZERS
from gpunet.study import pictures
from gpunet.study.animation import animation
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.noisy import SEEDS, share_at_the_lowest
from gpunet.study.path_picture import draw_paths
from gpunet.study.paths import Descent, descend
from gpunet.study.second_order import SECOND_ORDER
from gpunet.study.styles import style
from gpunet.study.words import say

DEFAULT = "sgd,momentum,adagrad,rmsprop,adam,cocob"


def named(text: str) -> Landscape:
    """The landscape of this name."""
    return LANDSCAPES[parse.one_of(text, LANDSCAPES, "landscape")]


def _walkers(text: str) -> list[str]:
    """Optimizers, and the second-order methods beside them."""
    names = [part.strip().lower() for part in text.split(",")]
    second = [name for name in SECOND_ORDER if name in names]
    others = ",".join(name for name in names if name and name not in second)
    return [*(parse.optimizers(others) if others or not second else []), *second]


def _list(context: click.Context, option: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    width = max(map(len, LANDSCAPES))
    for landscape in LANDSCAPES.values():
        click.echo(f"{landscape.name:{width}}  {landscape.formula}")
        click.echo(f"{'':{width}}  {say(landscape.lesson)}")
    context.exit()


@click.command()
@click.argument("place", metavar="NAME", callback=options.read(named))
@options.text(
    "--optimizers",
    _walkers,
    "NAMES",
    DEFAULT,
    'Names with commas between, or "all"; newton and lbfgs may stand beside them.',
)
@click.option(
    "--lr",
    "rates",
    callback=options.read(parse.rates),
    metavar="[NAME=]RATE",
    default="",
    help="One learning rate for all, or sgd=0.9,adam=0.1.  [default: what suits the landscape]",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Updates of each.  [default: what suits the landscape]",
)
@click.option(
    "--start",
    callback=options.read(parse.point),
    metavar="X[,Y]",
    help="Where all set out.  [default: the landscape's first]",
)
@options.maybe(
    "--noise",
    parse.not_negative,
    "NUMBER",
    f"Deviation of noise on each gradient, as small batches have it; of {SEEDS} seeds it is told "
    "how many end at the lowest minimum.",
)
@options.out("gpunet-out", "the files")
@click.option("--no-pictures", is_flag=True, help="The animation only; needs no matplotlib.")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list,
    help="The landscapes, and exit.",
)
def landscape(
    place: Landscape,
    optimizers: list[str],
    rates: parse.Rates,
    steps: int | None,
    start: tuple[float, ...] | None,
    noise: float | None,
    out: Path,
    no_pictures: bool,
) -> None:
    """Show how optimizers descend the landscape NAME; --list tells which there are.

    Writes landscape-NAME.html, an animation that needs no network, and with matplotlib
    landscape-NAME.png and .svg to --out.
    """
    with common.mistakes():
        _check(rates, optimizers, noise)
        options: dict[str, dict[str, Any]] = {
            name: {"steps": steps, "lr": _rate(name, rates)} for name in optimizers
        }
        walks = [_walk(place, n, start, noise or 0, options[n]) for n in optimizers]
        told = (
            []
            if noise is None
            else [_shares(place, name, start, noise, options[name]) for name in optimizers]
        )
        files = _write(place, walks, out, drawn=not no_pictures)
    for walk in walks:
        click.echo(say(_ending(walk)))
    for line in told:
        click.echo(say(line))
    click.echo(say(f"written to {readable(out)}: {', '.join(files)}"))


def _check(rates: parse.Rates, optimizers: list[str], noise: float | None) -> None:
    """ValueError for a rate that nothing would use, and for noise on second-order methods."""
    second = [name for name in optimizers if name in SECOND_ORDER]
    if second and noise is not None:
        raise ValueError(f"--noise is for the optimizers, and not for {' and '.join(second)}")
    for name in rates:
        if name and name not in optimizers:
            raise ValueError(f"--lr: {name} is not among the --optimizers")
    if rates and not any(_has_lr(name) for name in optimizers):
        names = " and ".join(style(name).label for name in optimizers)
        raise ValueError(f"--lr: {names} has no learning rate; leave it out")


def _has_lr(name: str) -> bool:
    return name in OPTIMIZERS and OPTIMIZERS[name].has_lr


def _walk(
    place: Landscape, name: str, start: Any, noise: float, options: dict[str, Any]
) -> Descent:
    if name in SECOND_ORDER:
        return SECOND_ORDER[name](place, start, steps=options["steps"])
    return descend(place, name, start, noise=noise, **options)


def _rate(optimizer: str, rates: parse.Rates) -> float | None:
    if not _has_lr(optimizer):
        return None
    return rates.get(optimizer, rates.get(""))


def _write(place: Landscape, walks: list[Descent], out: Path, drawn: bool) -> list[str]:
    """The files' names; the animation first, for it needs nothing else."""
    name = f"landscape-{place.name}"
    names = [f"{name}.{ending}" for ending in ("html", *(("png", "svg") if drawn else ()))]
    with common.outputs(out, names) as folder:
        folder.stage(names[0], animation(place, walks).encode())
        try:
            if drawn:
                pair = pictures.encode_both(lambda: draw_paths(place, walks), name)
                for file, content in pair.items():
                    folder.stage(file, content)
        except ImportError as error:
            folder.commit()
            common.fail(f"the animation is in {out}; {error}, or --no-pictures")
        folder.commit()
    return names


def _shares(place: Landscape, name: str, start: Any, noise: float, options: dict[str, Any]) -> str:
    """How often noise leads to the lowest minimum, beside the whole gradient."""
    noisy = share_at_the_lowest(place, name, start, noise=noise, **options)
    alone = share_at_the_lowest(place, name, start, noise=0.0, seeds=1, **options)
    whole = "so does the path without" if alone else "the path without does not"
    return f"{name:10} with noise {noisy:.1%} of {SEEDS} seeds end at the lowest minimum; {whole}"


def _ending(walk: Descent) -> str:
    rate = "" if walk.lr is None else f"lr {walk.lr:g}"
    point = ", ".join(f"{x:.4g}" for x in walk.points[-1])
    end = "diverged after" if walk.diverged else "after"
    return (
        f"{walk.optimizer:10} {rate:10} {end} {len(walk)} steps at ({point}), "
        f"height {walk.values[-1]:.4g}"
    )

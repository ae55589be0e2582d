"""`gpunet landscape`: optimizers' paths over a landscape, as pictures and as an animation."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import Path

import click

from gpunet.commands import common
from gpunet.optim import OPTIMIZERS
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.paths import Path as Walk
from gpunet.study.paths import descend

Rates = dict[str, float]  # by optimizer; under "" what holds for the others
DEFAULT = "sgd,momentum,adagrad,rmsprop,adam,cocob"


def _one_of(word: str, known: Iterable[str], what: str) -> str:
    """`word` in lower case; BadParameter that names the nearest known one, or all."""
    name = word.strip().lower()
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    raise click.BadParameter(f"unknown {what} {word.strip()!r}; {hint}")


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise click.BadParameter(f"{text.strip()!r} is no {what}")
    return value


def _names(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """ "sgd,adam" as names, each once; "all" is every optimizer."""
    if value.strip().lower() == "all":
        return list(OPTIMIZERS)
    names = [_one_of(part, OPTIMIZERS, "optimizer") for part in value.split(",") if part.strip()]
    if not names:
        raise click.BadParameter("no optimizer is named; sgd,momentum,adam for example")
    return list(dict.fromkeys(names))


def _rates(context: click.Context, option: click.Parameter, value: str | None) -> Rates:
    """ "0.1" for all, "sgd=0.9,adam=0.1" for some, or both."""
    rates: Rates = {}
    for part in (value or "").split(","):
        name, equals, number = part.rpartition("=")
        if not part.strip():
            continue
        key = _one_of(name, OPTIMIZERS, "optimizer") if equals else ""
        rates[key] = _number(number, "learning rate")
        if rates[key] < 0:
            raise click.BadParameter(f"a learning rate is at least 0, got {number.strip()}")
    for key in rates:
        if key and not OPTIMIZERS[key].has_lr:
            raise click.BadParameter(
                f"{OPTIMIZERS[key].__name__} has no learning rate; leave it out"
            )
    return rates


def _start(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(_number(part, "coordinate, such as -7,2") for part in value.split(","))


def _list(context: click.Context, option: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    width = max(map(len, LANDSCAPES))
    for landscape in LANDSCAPES.values():
        click.echo(f"{landscape.name:{width}}  {landscape.formula}")
        click.echo(f"{'':{width}}  {landscape.lesson}")
    context.exit()


@click.command()
@click.argument("name")
@click.option(
    "--optimizers",
    callback=_names,
    default=DEFAULT,
    show_default=True,
    help='Names with commas, or "all".',
)
@click.option(
    "--lr",
    "rates",
    callback=_rates,
    help="One learning rate for all, or sgd=0.9,adam=0.1 [what suits the landscape].",
)
@click.option(
    "--steps", type=click.IntRange(1, 10_000), help="Updates of each [what suits the landscape]."
)
@click.option(
    "--start", callback=_start, metavar="X[,Y]", help="Where all set out [the landscape's first]."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="gpunet-out",
    show_default=True,
    help="Folder for the files.",
)
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
    name: str,
    optimizers: list[str],
    rates: Rates,
    steps: int | None,
    start: tuple[float, ...] | None,
    out: Path,
    no_pictures: bool,
) -> None:
    """Show how optimizers descend the landscape NAME; --list tells which there are.

    Writes landscape-NAME.html, an animation that needs no network, and with matplotlib
    landscape-NAME.png and .svg to --out.
    """
    place = LANDSCAPES[_one_of(name, LANDSCAPES, "landscape")]
    _check(rates, optimizers)
    try:
        walks = [
            descend(place, key, start, steps=steps, lr=_rate(key, rates)) for key in optimizers
        ]
        files = _write(place, walks, out, pictures=not no_pictures)
    except ImportError as error:
        raise click.ClickException(
            f"the animation is in {out}; {error}, or --no-pictures"
        ) from None
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    for walk in walks:
        click.echo(_told(walk))
    click.echo(f"written to {out}: {', '.join(files)}")


def _check(rates: Rates, optimizers: list[str]) -> None:
    """ClickException for a rate that nothing would use."""
    for key in rates:
        if key and key not in optimizers:
            raise click.ClickException(f"--lr: {key} is not among the --optimizers")
    if rates and not any(OPTIMIZERS[name].has_lr for name in optimizers):
        names = " and ".join(OPTIMIZERS[name].__name__ for name in optimizers)
        raise click.ClickException(f"--lr: {names} has no learning rate; leave it out")


def _rate(optimizer: str, rates: Rates) -> float | None:
    if not OPTIMIZERS[optimizer].has_lr:
        return None
    return rates.get(optimizer, rates.get(""))


def _write(place: Landscape, walks: list[Walk], out: Path, pictures: bool) -> list[str]:
    """The files' names; the animation first, for it needs nothing else."""
    from gpunet.study.animation import save_animation
    from gpunet.study.path_picture import save_picture

    common.prepare(out)
    stem = f"landscape-{place.name}"
    save_animation(place, walks, out / f"{stem}.html")
    endings = ("png", "svg") if pictures else ()
    for ending in endings:
        save_picture(place, walks, out / f"{stem}.{ending}")
    return [f"{stem}.{ending}" for ending in ("html", *endings)]


def _told(walk: Walk) -> str:
    rate = "" if walk.lr is None else f"lr {walk.lr:g}"
    point = ", ".join(f"{x:.4g}" for x in walk.points[-1])
    end = "diverged after" if walk.diverged else "after"
    return (
        f"{walk.optimizer:10} {rate:10} {end} {len(walk)} steps at ({point}), "
        f"height {walk.values[-1]:.4g}"
    )

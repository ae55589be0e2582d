"""Options that several commands share, ready to be put above a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gpunet.activation import ACTIVATIONS
from gpunet.commands import config as config_file
from gpunet.commands import parse
from gpunet.data import SHARES
from gpunet.optim import OPTIMIZERS

Command = Callable[..., None]
Option = Callable[[Command], Command]


def read(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """A callback: the value that a function of `parse` makes of the text, or of each of several;
    its ValueError is the user's mistake.
    """

    def callback(context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return [parse(text) for text in value]
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def text(name: str, parse: Callable[[str], Any], metavar: str, default: str, help: str) -> Option:
    """An option whose value a function of `parse` reads."""
    return click.option(
        name,
        callback=read(parse),
        metavar=metavar,
        default=default,
        show_default=True,
        help=help,
    )


def maybe(
    name: str, parse: Callable[[str], Any], metavar: str, help: str, else_: str = ""
) -> Option:
    """An option that may be left out, whose value a function of `parse` reads. else_: what holds
    then.
    """
    help += f"  [default: {else_}]" if else_ else ""
    return click.option(name, callback=read(parse), metavar=metavar, help=help)


def hidden(default: str) -> Option:
    words = 'Hidden layer sizes; "" for none.'
    return text("--hidden", parse.sizes, "SIZES", default, words)


activation: Option = text(
    "--activation", parse.activation, "NAME", "relu", f"One of {', '.join(ACTIVATIONS)}."
)

batch_norm: Option = click.option(
    "--batch-norm", is_flag=True, help="BatchNorm before each activation."
)

dropout: Option = text(
    "--dropout",
    parse.share,
    "SHARE",
    "0.2",
    "Share of each hidden layer that is dropped in training.",
)


def optimizers(default: str) -> Option:
    words = 'Names with commas between, such as adam,cocob,momentum; or "all".'
    return text("--optimizers", parse.optimizers, "NAMES", default, words)


def count(name: str, default: int, help: str, least: int = 1, most: int | None = None) -> Option:
    """An option for a whole number."""
    kind = click.IntRange(least, most)
    return click.option(name, type=kind, metavar="N", default=default, show_default=True, help=help)


def epochs(default: int) -> Option:
    return count("--epochs", default, "Passes over the training rows.", most=10**6)


def seed(of: str) -> Option:
    return count("--seed", 0, f"Of {of}.", least=0, most=2**64 - 1)


def out(default: str, holds: str) -> Option:
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        default=default,
        show_default=True,
        help=f"Folder for {holds}.",
    )


data: Option = click.argument("data", default="digits")
model: Option = click.argument("model", type=click.Path(path_type=Path))
rows: Option = click.argument("data", metavar="DATA")


def _note(context: click.Context, option: click.Parameter, value: Any) -> None:
    """For `common.dataset`, and no argument of the command."""
    context.meta[str(option.name)] = value


def _note_share(context: click.Context, option: click.Parameter, value: Any) -> None:
    _note(context, option, read(parse.share)(context, option, value))


label: Option = click.option(
    "--label",
    callback=_note,
    expose_value=False,
    metavar="NAME|NUMBER",
    help="The column of a .csv to predict, by its name or its number from 1.",
)

target: Option = click.option(
    "--target",
    type=click.Choice(["auto", "class", "number"]),
    callback=_note,
    expose_value=False,
    default="auto",
    show_default=True,
    help="What whole numbers as targets are: labels of classes, or quantities.",
)

valid_share: Option = click.option(
    "--valid-share",
    callback=_note_share,
    expose_value=False,
    metavar="SHARE",
    default=str(SHARES.valid),
    show_default=True,
    help="Share of the rows to validate on, where DATA has no such part.",
)

config: Option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=config_file.read,
    is_eager=True,
    expose_value=False,
    metavar="FILE",
    help="A TOML file with options by their names, as the one in --out; others may be given too.",
)

batch_size: Option = count("--batch-size", 32, "Rows an update.")

optimizer: Option = text(
    "--optimizer", parse.optimizer, "NAME", "adam", f"One of {', '.join(OPTIMIZERS)}."
)

device: Option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto is a GPU if one is usable.",
)

predicts_on: Option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the network runs.",
)

"""The command line: the group that holds `gpunet.commands`, and how a mistake becomes one line.

A user's mistake is one line on stderr and exit status 2, never a traceback.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

import gpunet as gn
from gpunet import starting
from gpunet.files import readable
from gpunet.study import words

NAMES = (
    "bench", "compare", "evaluate", "export", "info", "landscape", "predict", "show", "study",
    "sweep", "train",
)  # fmt: skip


def main() -> None:
    """The console command: `cli`, with every mistake in one line."""
    _open_streams()
    try:
        code = cli(prog_name="gpunet", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _end(error.format_message(), 2)
    except BrokenPipeError:  # such as `gpunet info | head -1`
        _end(None, 1)
    except OSError as error:
        if error.filename is not None:
            raise
        _end(f"cannot write: {error.strerror or error}", 2)  # such as to a disk that is full
    sys.exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """What is closed, as by `>&-`, leads nowhere: else the first file that is opened would be
    printed into. What a terminal cannot show is printed as \\x1b, and is no error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end(message: str | None, code: int) -> NoReturn:
    """With a line on stderr. What is left for stdout is given up if nobody takes it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if message is not None:
        with contextlib.suppress(OSError):
            click.echo(f"gpunet: {readable(' '.join(message.split()))}", err=True)
    sys.exit(code)


class Commands(click.Group):
    """Each is a function in the module of its name, which loads when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in NAMES:
            return None
        found: click.Command = getattr(import_module(f"gpunet.commands.{name}"), name)
        return found


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gn.__version__, prog_name="gpunet")
@click.option(
    "--lang",
    type=click.Choice(words.LANGUAGES),
    envvar="GPUNET_LANG",
    help="Of compare, landscape, study and sweep; also GPUNET_LANG.  [default: by LANG]",
)
@click.pass_context
def cli(context: click.Context, lang: str | None) -> None:
    """Train small networks, on a GPU with CuPy or on the CPU with NumPy."""
    starting.ready()
    context.with_resource(words.spoken(lang or words.preferred(os.environ)))
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

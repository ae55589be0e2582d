"""The command line: the group that holds `gpunet.commands`, and how a mistake becomes one line.

A user's mistake is one line on stderr and exit status 2, never a traceback.
"""

from __future__ import annotations

import os
import sys

import click

import gpunet as gn
from gpunet.commands.bench import bench
from gpunet.commands.compare import compare
from gpunet.commands.export import export
from gpunet.commands.info import info
from gpunet.commands.landscape import landscape
from gpunet.commands.study import study
from gpunet.commands.train import train


def main() -> None:
    """The console command: `cli`, with every mistake in one line."""
    try:
        code = cli(prog_name="gpunet", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        click.echo(f"gpunet: {' '.join(error.format_message().split())}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # such as `gpunet info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(gn.__version__, prog_name="gpunet")
@click.pass_context
def cli(context: click.Context) -> None:
    """Train small networks, on a GPU with CuPy or on the CPU with NumPy."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (train, export, compare, landscape, study, bench, info):
    cli.add_command(command)

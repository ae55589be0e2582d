"""What the commands share: mistakes in one line, the device, the folder that is written to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

import gpunet as gn
from gpunet import machine


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """Inside it, what a user may have got wrong ends the command in one line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (ValueError, gn.DeviceError) as error:
        # Functions speak of arguments, the command line of options.
        text = str(error)
        for name in ("class", "number"):
            text = text.replace(f"target='{name}'", f"--target {name}")
        fail(text.replace("batch_size", "--batch-size"))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except MemoryError as error:
        fail(f"not enough memory for this network and batch: {error}")
    except gn.NonFiniteError as error:
        fail(
            f"training became non-finite in epoch {error.epoch}, step {error.step}, first in "
            f"{error.place}; try a smaller --lr, or look for extreme values in the data"
        )


def fail(message: str) -> NoReturn:
    """End the command: `message` on stderr, exit status 2."""
    raise click.ClickException(message)


def device(asked: str) -> str:
    """ "cpu" or "cuda" for --device: auto takes a GPU that works and says why one is left alone."""
    if asked == "cpu":
        return "cpu"
    driver = machine.driver()
    if asked == "auto" and isinstance(driver, machine.Problem):
        return "cpu"
    trouble = machine.problems()
    if not trouble:
        return "cuda"
    why = f"{trouble[0].reason}; {trouble[0].remedy}"
    if asked == "cuda":
        fail(f"--device cuda: {why}")
    click.echo(f"gpunet: training on the CPU, not on the GPU: {why}", err=True)
    return "cpu"


def prepare(out: Path) -> None:
    """Make the folder and try it: better to fail now than after the training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        fail(f"--out {out}: cannot write there: {error.strerror or error}")

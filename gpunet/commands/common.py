"""What the commands share: mistakes in one line, the device, the folder that is written to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import click

import gpunet as gn
from gpunet import machine
from gpunet.cxx import CompileError
from gpunet.data import SHARES, Dataset, Shares, load
from gpunet.data.targets import Undecided
from gpunet.files import readable
from gpunet.outputs import Busy, Outputs
from gpunet.predictor import Predictor


@contextlib.contextmanager
def mistakes() -> Iterator[None]:
    """Inside it, what a user may have got wrong ends the command in one line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (ValueError, ImportError, gn.DeviceError, CompileError) as error:
        # Functions speak of arguments, the command line of options.
        text = str(error)
        for name in ("class", "number"):
            text = text.replace(f"target='{name}'", f"--target {name}")
        again = "; give the options of then, or another --out"
        text = re.sub(r"; load\(path, strict=False\).*", again, text)
        text = re.sub(r"\b(pass|or) label= ?", r"\1 --label ", text)
        text = re.sub(r"\bepochs=(\d+)", r"--epochs \1", text)
        fail(text.replace("batch_size", "--batch-size"))
    except OSError as error:
        where = "cannot write" if error.filename is None else error.filename
        fail(f"{where}: {error.strerror or error}")
    except MemoryError as error:
        fail(f"not enough memory for this network and batch: {error}")
    except gn.NonFiniteError as error:
        fail(
            f"training became non-finite in epoch {error.epoch}, step {error.step}, first in "
            f"{error.place}; try a smaller --lr, or look for extreme values in the data"
        )


def dataset(source: str, without_test: bool = False) -> Dataset:
    """What DATA, --target, --label and --valid-share name; numbers as targets are scaled.

    without_test: no rows of it are kept for a test.
    """
    given = click.get_current_context().meta
    valid = given.get("valid_share", SHARES.valid)
    shares = Shares(valid, 0.0 if without_test else SHARES.test)
    options = {"label": given["label"], "shares": shares}
    try:
        found = load(source, target=given["target"], **options)
    except Undecided as error:
        # So many are hardly labels, and a wrong guess that is said costs a run, no wrong answer.
        click.echo(
            f"gpunet: the targets are whole numbers, {error.found}: taken for quantities; give "
            "--target class if they are labels",
            err=True,
        )
        found = load(source, target="number", **options)
    return found.with_scaled_targets()


def predicts(dataset: Dataset) -> str:
    """What a run on a table predicts, and from what: lines to follow others."""
    if dataset.label is None:
        return _rare(dataset)
    if dataset.classes is None:
        numbers = dataset.train.t * dataset.target_scale + dataset.target_shift
        kind = f"a number, {numbers.min():.4g} to {numbers.max():.4g} in training"
        kind = kind if dataset.outputs == 1 else f"{dataset.outputs} numbers"
    else:
        kind = f"{dataset.outputs} classes: {listed(dataset.classes)}"
    columns = dataset.columns or ()
    reads = f"\nreads {listed(columns)}" if columns else ""
    plan = [dataset.description().plan] if columns else []
    told = "".join(f"\n{line}" for line in (*plan, *dataset.notes))
    return f"{told}\npredicts {dataset.label}, {kind}{reads}{_rare(dataset)}"


_SHOWN = 8


def listed(names: Sequence[str]) -> str:
    """Names for a line: of many the first and the last."""
    if len(names) <= _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: _SHOWN - 1])}, ..., {names[-1]} ({len(names)})"


def _rare(dataset: Dataset) -> str:
    """The classes that are not in every part."""
    if dataset.classes is None:
        return ""
    lines = []
    for part, does in ((dataset.valid, "validate"), (dataset.test, "test")):
        missing = set(range(dataset.outputs)) - set(part.t.tolist()) if len(part) else set()
        if missing:
            names = listed([dataset.classes[k] for k in sorted(missing)])
            lines.append(f"\nno rows to {does} on, for there are too few: {names}")
    return "".join(lines)


MODEL = "model.safetensors"


def model_file(model: Path) -> Path:
    """The file MODEL, or the one in the folder MODEL that `gpunet train` wrote; ValueError where
    there is none.
    """
    path = model / MODEL if model.is_dir() else model
    if not path.exists():
        raise ValueError(f"no model file {readable(path)!r}")
    return path


def predictor(model: Path, asked: str) -> Predictor:
    """What MODEL holds, on the device --device."""
    return Predictor.load(model_file(model)).to(device(asked))


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
    click.echo(f"gpunet: on the CPU, not on the GPU: {why}", err=True)
    return "cpu"


@contextlib.contextmanager
def outputs(out: Path, names: Iterable[str], size: int = 0) -> Iterator[Outputs]:
    """The folder --out, this run's alone: better to fail now than after the training. size: bytes
    that must find room there.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(Outputs(out, names, size))
        except Busy as error:
            fail(f"--out {out}: {error}")
        except OSError as error:
            fail(f"--out {out}: cannot write there: {error.strerror or error}")
        yield folder

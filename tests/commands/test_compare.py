"""`gpunet compare` as a reader calls it."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from gpunet.commands import compare as module
from gpunet.commands.compare import compare
from gpunet.study import pictures
from gpunet.study.compare import pool

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--epochs", "2", "--hidden", "8", "--batch-size", "16", "--seeds", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    generator = np.random.Generator(np.random.Philox(3))
    x = generator.normal(size=(120, 3)).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "two <b>classes.npz"
    np.savez(path, x=x, t=(x[:, 0] > 0).astype(np.int64))
    return str(path)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: starting others takes a second."""
    whole = pool.train_all
    monkeypatch.setattr(pool, "train_all", lambda *given: whole(*given[:4], None))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw nothing: a picture takes a second."""
    monkeypatch.setattr(pictures, "can_plot", lambda: False)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(compare, arguments, standalone_mode=False)


def table(out: Path, name: str = "table.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((out / name).read_text().splitlines()))


@pytest.mark.usefixtures("here")
def test_everything_is_written_and_a_second_call_trains_nothing(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "folder"
    arguments = [data, *SMALL, "--optimizers", "adam,cocob", "--lr-grid", "0.01,0.1"]
    first = call(*arguments, "--out", str(out))
    assert first.exception is None, first.exception
    assert "0 of 6 runs done before" in first.output
    assert {row["optimizer"] for row in table(out)} == {"Adam", "COCOB"}
    losses = [float(row["valid_loss"]) for row in table(out)]
    assert losses == sorted(losses)
    assert {(r["optimizer"], r["lr"], r["seed"]) for r in table(out, "runs.csv")} == {
        ("Adam", "0.01", "0"),
        ("Adam", "0.01", "1"),
        ("Adam", "0.1", "0"),
        ("Adam", "0.1", "1"),
        ("COCOB", "", "0"),
        ("COCOB", "", "1"),
    }
    html = (out / "report.html").read_text("utf-8")
    assert "Which optimizer for two &lt;b&gt;classes.npz?" in html
    assert "Partial" not in html + first.output
    assert (out / "compare.png").exists() is pictures.can_plot()

    monkeypatch.setattr(pool, "train_all", lambda *given: pytest.fail("trained again"))
    (out / "report.html").unlink()
    again = call(*arguments, "--out", str(out))
    assert again.exception is None, again.exception
    assert (out / "report.html").read_text("utf-8") == html
    assert again.output.splitlines()[1:] == first.output.splitlines()[1:]


@pytest.mark.usefixtures("here", "plain")
def test_more_seeds_continue(data: str, tmp_path: Path) -> None:
    common = [
        data,
        *SMALL[:-1],
        "1",
        "--optimizers",
        "sgd",
        "--lr-grid",
        "0.1",
        "--out",
        str(tmp_path),
    ]
    assert "0 of 1 runs" in call(*common).output
    assert "1 of 2 runs done before" in call(*common, "--seeds", "2").output
    assert "0 of 1 runs" in call(*common, "--epochs", "3").output, "another setup is another run"


@pytest.mark.usefixtures("here", "plain")
def test_same_seeds_same_numbers(data: str, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        out = tmp_path / name
        call(data, *SMALL, "--optimizers", "adam", "--lr-grid", "0.1", "--out", str(out))
        found.append([{**row, "seconds": ""} for row in table(out, "runs.csv")])
    assert found[0] == found[1]
    assert len(found[0]) == 2


@pytest.mark.usefixtures("here", "plain")
def test_without_matplotlib_a_note(data: str, tmp_path: Path) -> None:
    run = call(data, *SMALL, "--optimizers", "cocob", "--out", str(tmp_path))
    assert "pip install 'gpunet[plot]'" in run.output
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "compare.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--optimizers", "adm"], "unknown optimizer 'adm'; did you mean"),
        (["--lr-grid", "x"], "'x' is no learning rate"),
        (["--lr-grid", "lion=0.1", "--optimizers", "adam"], "lion, which is not among adam"),
        (["--hidden", "3,x"], "'3,x' is not a list of layer sizes"),
        (["--hidden", "0"], "'0' is not a list of layer sizes"),
        (["--reach", "97"], "an accuracy above 0, at most 1"),
        (["--target", "0.97"], "'0.97' is not one of 'auto', 'class', 'number'"),
        (["--seeds", "0"], "0 is not in the range"),
        (["no-such-file.csv"], "no such file or folder"),
        (["--out", __file__], "is a file"),
        (["--out", f"{__file__}/x"], "cannot write there"),
    ],
)
def test_a_mistake_is_one_line_before_any_training(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pool, "train_all", lambda *given: pytest.fail("trained"))
    error = call(*arguments).exception
    assert isinstance(error, click.ClickException), error
    assert said in error.format_message()
    assert "\n" not in error.format_message()


def test_what_goes_wrong_in_training_is_one_line(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise ChildProcessError("a training process was ended from outside")

    monkeypatch.setattr(module.pool, "train_all", broken)
    error = call(data, "--out", str(tmp_path)).exception
    assert isinstance(error, click.ClickException)
    assert "ended from outside" in error.format_message()


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
def test_ctrl_c_keeps_what_is_done_and_the_next_call_continues(tmp_path: Path) -> None:
    script = tmp_path / "call.py"
    script.write_text(
        "from gpunet.commands.compare import compare\nif __name__ == '__main__':\n    compare()\n"
    )
    what = ["digits", "--optimizers", "adam,cocob", "--seeds", "1", "--epochs", "25"]
    command = [sys.executable, str(script), *what, "--jobs", "2", "--out", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A run in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    runs = tmp_path / "out" / "runs"
    until = time.monotonic() + 60
    while not list(runs.glob("*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does: every process hears it
    said, complaints = begun.communicate(timeout=30)  # the pipes end with the last process
    kept = len(list(runs.glob("*.json")))
    assert begun.returncode == 130, complaints
    assert 0 < kept < 10
    assert f"Partial: {kept} of 10 runs" in said
    assert complaints == (
        f"interrupted; {kept} of 10 runs are kept, and the same command continues\n"
    )
    assert f"Partial: {kept} of 10 runs" in (tmp_path / "out" / "report.html").read_text()

    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{kept} of 10 runs done before")
    assert "Partial" not in ended.stdout

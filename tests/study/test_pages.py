"""Every page and picture, opened in a browser: wide and narrow, light and dark."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import gpunet as gn
from gpunet.cli import cli
from gpunet.commands.study import study
from gpunet.data import load
from gpunet.study.history_picture import save_curves
from gpunet.study.pictures import can_plot
from tests.tools.browser import Browser, missing

WIDTHS = (1280, 360)
ARGUMENTS = {"optimizer": ["adam"]}  # of what `gpunet study` has; the others need none
SLOW = {"batches", "losses"}  # their pictures are drawn as that of `rates`
COMPARE = ("--lr-grid", "0.01,1", "--epochs", "2", "--seeds", "1", "--hidden", "4")
IN_A_NOTEBOOK = (  # which gives width and colours
    "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    "<meta name='color-scheme' content='light dark'>"
)


def run(*arguments: str, out: Path) -> None:
    done = CliRunner().invoke(cli, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def by_commands(folder: Path) -> None:
    """What the commands write: each in a folder of its own name."""
    plain = () if can_plot() else ("--no-pictures",)
    for name, command in study.commands.items():
        options = {p.name for p in command.params}
        if "out" in options and name not in SLOW:
            given = [*ARGUMENTS.get(name, []), *(plain if "no_pictures" in options else ())]
            run("study", name, *given, out=folder / f"study-{name}")
    run("landscape", "bowl", "--optimizers", "all", *plain, out=folder / "landscape-bowl")
    run("landscape", "sinc", "--no-pictures", out=folder / "landscape-sinc")
    rows = np.random.default_rng(0).normal(size=(60, 3)).round(3)
    table = folder / "table.csv"
    np.savetxt(table, np.column_stack([rows, rows[:, 0] > 0]), "%g", ",", header="a,b,c,t")
    run("compare", str(table), *COMPARE, "--jobs", "1", out=folder / "compare")
    in_korean(folder, str(table))


def in_korean(folder: Path, table: str) -> None:
    """The longest words; the comparison's runs are there."""
    run("--lang", "ko", "landscape", "sinc", "--no-pictures", out=folder / "korean")
    shutil.copytree(folder / "compare/runs", folder / "korean/runs")
    run("--lang", "ko", "compare", table, *COMPARE, out=folder / "korean")
    run("--lang", "ko", "study", "batchnorm", out=folder / "korean")


def by_python(folder: Path) -> None:
    """What Python writes, and what a notebook shows."""
    data = load("digits")
    model = gn.MLP([64, *[8] * 4, 10])
    probe, track = gn.study.Probe(data.train), gn.study.Trajectory()
    opt = gn.Adam(model.parameters())
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), opt, callbacks=[probe, track])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the probe finds dead units in so small a network
        history = trainer.fit(data.train, data.valid, epochs=2, batch_size=256)
    with gn.study.watching():
        loss = gn.SoftmaxWithLoss()(model(data.train.x[:4]), data.train.t[:4])
    picture = gn.draw(loss, folder / "graph.svg")
    walk = gn.study.optimizer("adam", [5, 3, -1])
    looks = [model, opt, history, gn.summary(model, (4, 64)), walk]
    body = "\n".join(look._repr_html_() for look in looks) + picture._repr_svg_()
    (folder / "notebook.html").write_text(IN_A_NOTEBOOK + body, "utf-8")
    if can_plot():
        save_curves(history, folder / "history.svg", "digits")
        probe.save(folder / "probe.svg")
        surface = gn.study.surface(model, gn.SoftmaxWithLoss(), data.valid, track, points=5)
        surface.save(folder / "surface.svg")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    by_commands(folder)
    by_python(folder)
    return sorted(p for p in folder.rglob("*") if p.suffix in (".html", ".svg"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if reason := missing():
        pytest.skip(reason)
    with Browser() as started:
        yield started


def test_pages_fit_the_window_and_complain_of_nothing(browser: Browser, pages: list[Path]) -> None:
    """One test, so that the pages are made once, whoever runs it."""
    assert len(pages) > 8
    found = {}
    for page, (k, (width, dark)) in product(pages, enumerate(product(WIDTHS, (False, True)))):
        seen = browser.turn(width, dark) if k else browser.open(page, width, dark)
        told = seen.complaints + seen.wrong[:5]
        if not (max(seen.ground) < 60 if dark else min(seen.ground) > 240):
            told.append(f"the ground is {seen.ground}")
        if told:
            ground = "dark" if dark else "light"
            found[f"{page.parent.name}/{page.name}, {width}, {ground}"] = told
    assert found == {}


def test_the_browser_sees_what_is_wrong(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    page.write_text(
        "<meta name='viewport' content='width=device-width'><div style='width:700px'>wide</div>"
        "<svg><text y='20'>one</text><text y='22' x='3'>two</text></svg>"
        "<script>console.error('told'); nothing.there</script>",
        "utf-8",
    )
    seen = browser.open(page, 360, False)
    assert any("told" in line for line in seen.complaints)
    assert any("nothing is not defined" in line for line in seen.complaints)
    assert any(line.startswith("DIV") for line in seen.wrong)
    assert '"one" lies on "two"' in seen.wrong
    assert browser.open(page, 1280, False).wrong == ['"one" lies on "two"']

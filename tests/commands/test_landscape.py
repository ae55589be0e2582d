"""`gpunet landscape`: what it writes and says, and mistakes in one line."""

from __future__ import annotations

from functools import partial

import pytest

import gpunet as gn
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.paths import descend
from tests.console import Run

ENDINGS = ("html", "png", "svg")


@pytest.fixture
def gpunet(gpunet: Run) -> Run:
    """`gpunet landscape ...`."""
    return partial(gpunet, "landscape")


def test_it_writes_pictures_and_an_animation_and_says_where_each_ended(gpunet, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    status, out, err = gpunet("bowl", "--optimizers", "SGD, adam", "--steps", "12", "--out", "o")
    assert (status, err) == (0, "")
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [
        f"landscape-bowl.{ending}" for ending in ENDINGS
    ]
    sgd, adam, files = out.splitlines()
    x, y = descend(LANDSCAPES["bowl"], "sgd", steps=12).points[-1]
    assert sgd.split()[:6] == ["sgd", "lr", "0.95", "after", "12", "steps"]
    assert f"at ({x:.4g}, {y:.4g})" in sgd
    assert adam.startswith("adam")
    assert files == "written to o: landscape-bowl.html, landscape-bowl.png, landscape-bowl.svg"


def test_without_matplotlib_the_animation_is_there_and_the_error_says_what_is_not(
    gpunet, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("gpunet.study.pictures.can_plot", lambda: False)
    status, _, err = gpunet("bowl", "--out", "o")
    assert (status, err.count("\n")) == (2, 1)
    assert "the animation is in o; pictures need matplotlib: pip install 'gpunet[plot]'" in err
    assert "--no-pictures" in err
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["landscape-bowl.html"]
    status, out, err = gpunet("bowl", "--out", "o", "--no-pictures")
    assert (status, err) == (0, "")
    assert out.endswith("written to o: landscape-bowl.html\n")


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ((), [1.1, 0.2, None]),
        (("--lr", "0.5"), [0.5, 0.5, None]),
        (("--lr", "sgd=0.01"), [0.01, 0.2, None]),
        (("--lr", "0.5, Adam = 0.1"), [0.5, 0.1, None]),
    ],
)
def test_learning_rates(gpunet, words: tuple[str, ...], rates: list[float | None]) -> None:
    _, out, _ = gpunet("sinc", "--optimizers", "sgd,adam,cocob", "--no-pictures", *words)
    for line, rate in zip(out.splitlines(), rates, strict=False):
        assert ("lr" not in line) if rate is None else (f" lr {rate:g} " in line)


def test_a_start_of_ones_own(gpunet) -> None:
    _, out, _ = gpunet("bowl", "--start", "-3,1.5", "--optimizers", "sgd", "--steps", "1",
                       "--lr", "0.5", "--no-pictures")  # fmt: skip
    assert "after 1 steps at (-2.85, 0)" in out


def test_every_optimizer_on_every_landscape(gpunet, tmp_path) -> None:
    for name in LANDSCAPES:
        status, out, err = gpunet(
            name, "--optimizers", "all", "--steps", "5", "--no-pictures", "--out", "o"
        )
        assert (status, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()[:-1]] == list(gn.OPTIMIZERS)
    assert len(list((tmp_path / "o").iterdir())) == len(LANDSCAPES)


def test_divergence_is_told(gpunet) -> None:
    status, out, _ = gpunet(
        "bowl", "--lr", "3", "--optimizers", "sgd", "--steps", "999", "--no-pictures"
    )
    assert status == 0
    assert "diverged after 220 steps" in out


def test_the_list(gpunet) -> None:
    status, out, _ = gpunet("--list")
    assert status == 0
    for place in LANDSCAPES.values():
        assert place.formula in out
        assert place.lesson in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bowll",), "unknown landscape 'bowll'; did you mean bowl"),
        (("xyz",), "unknown landscape 'xyz'; there are bowl, wells"),
        ((), "Missing argument 'NAME'"),
        (("bowl", "--optimizers", "sgd,adma"), "unknown optimizer 'adma'; did you mean ada"),
        (("bowl", "--optimizers", ","), "no optimizer is named"),
        (("bowl", "--lr", "fast"), "'fast' is no learning rate"),
        (("bowl", "--lr", "nan"), "'nan' is no learning rate"),
        (("bowl", "--lr", "-1"), "'-1' is no learning rate; give a number from 0"),
        (("bowl", "--lr", "sdg=1"), "unknown optimizer 'sdg'; did you mean sgd?"),
        (("bowl", "--lr", "cocob=1"), "COCOB has no learning rate"),
        (("bowl", "--lr", "lion=1"), "lion is not among the --optimizers"),
        (("bowl", "--optimizers", "cocob", "--lr", "1"), "COCOB has no learning rate"),
        (("bowl", "--start", "1"), "a start on bowl is 2 numbers, got [1.0]"),
        (("bowl", "--start", "1,b"), "'b' is no coordinate"),
        (("bowl", "--start", "1e200,0"), "no finite value at the start"),
        (("bowl", "--steps", "0"), "0 is not in the range"),
    ],
)
def test_mistakes_are_one_line(gpunet, tmp_path, words: tuple[str, ...], message: str) -> None:
    status, out, err = gpunet(*words)
    assert (status, out) == (2, "")
    assert err.startswith("gpunet: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "gpunet-out").exists()


def test_a_folder_that_cannot_be_written(gpunet, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = gpunet("bowl", "--no-pictures", "--out", "file/below")
    assert (status, err.count("\n")) == (2, 1)
    assert "file" in err

"""gpunet.study.history_picture: the picture of a training."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

import gpunet as gn
from gpunet.study import pictures
from gpunet.study.history_picture import save_curves


@pytest.fixture(autouse=True)
def _matplotlib() -> None:  # not for the whole module: benchmarks.verify_gpu counts that as a skip
    pytest.importorskip("matplotlib")


def history(epochs: int = 5, **columns: Any) -> gn.History:
    found = gn.History()
    for k in range(1, epochs + 1):
        row = {"epoch": k, "train_loss": 1.0 / k, "valid_loss": 1.2 / k, "valid_accuracy": 0.9}
        found.rows.append(row | columns)
    for name, value in columns.items():
        if value is ...:
            for row in found.rows:
                del row[name]
    return found


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draws, and gives the figure: its two axes are what a reader sees."""
    from matplotlib.backends.backend_agg import FigureCanvas

    figures = []
    real = FigureCanvas.print_png

    def print_png(canvas: Any, *arguments: Any, **options: Any) -> None:
        figures.append(canvas.figure)
        real(canvas, *arguments, **options)

    monkeypatch.setattr(FigureCanvas, "print_png", print_png)

    def draw(found: gn.History, title: str = "") -> Any:
        save_curves(found, tmp_path / "curves.png", title)
        data = (tmp_path / "curves.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert data.endswith(b"IEND\xaeB`\x82")
        return figures.pop()

    return draw


def test_losses_and_accuracy(drawn: Any) -> None:
    figure = drawn(history(), "costs $5 and $6")
    losses, accuracy = figure.axes
    assert [line.get_label() for line in losses.lines] == ["training", "validation"]
    assert losses.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert losses.lines[0].get_ydata().tolist() == [1.0 / k for k in range(1, 6)]
    assert losses.get_ylim()[0] == 0
    assert accuracy.lines[0].get_ydata().tolist() == [90.0] * 5
    assert (losses.get_ylabel(), accuracy.get_ylabel()) == ("loss", "validation accuracy, %")
    assert all(axis.get_xlabel() == "epoch" for axis in figure.axes)
    assert figure.get_suptitle() == r"costs \$5 and \$6"


def test_a_wide_fall_is_shown_by_ratios(drawn: Any) -> None:
    axis = drawn(history(20)).axes[0]
    assert axis.get_yscale() == "log"
    words = [label.get_text() for label in [*axis.get_yticklabels(), *axis.get_yticklabels(True)]]
    assert {"0.1", "0.2", "0.5", "1"} <= set(words)
    assert all(word == f"{float(word):g}" for word in words if word)
    assert drawn(history(8)).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("loss", [0.0, -3.0, math.nan, math.inf, None])
def test_losses_that_have_no_logarithm(loss: Any, drawn: Any) -> None:
    found = history(30)
    found.rows[7]["train_loss"] = loss
    axis = drawn(found).axes[0]
    assert (axis.get_yscale() == "linear") == (loss in (0.0, -3.0))
    assert axis.get_ylim()[0] <= (loss if loss in (0.0, -3.0) else 1)


def test_without_accuracy_or_validation(drawn: Any) -> None:
    assert len(drawn(history(valid_accuracy=...)).axes) == 1
    figure = drawn(history(valid_accuracy=..., valid_loss=...))
    assert [line.get_label() for line in figure.axes[0].lines] == ["training"]


def test_one_epoch_is_a_point(drawn: Any) -> None:
    assert drawn(history(1)).axes[0].lines[0].get_marker() == "o"
    assert drawn(history(3)).axes[0].lines[0].get_marker() == "None"


def test_whole_epochs_only(drawn: Any) -> None:
    for epochs in (1, 2, 7, 30):
        for axis in drawn(history(epochs)).axes:
            assert all(tick == round(tick) for tick in axis.get_xticks())


def test_no_epoch_at_all(drawn: Any) -> None:
    drawn(gn.History())


def test_no_window_is_opened(drawn: Any) -> None:
    drawn(history())
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("fake", [None, "broken"])
def test_without_matplotlib(
    fake: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pictures.can_plot()
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    if fake is None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        (tmp_path / "matplotlib").mkdir()
        (tmp_path / "matplotlib" / "__init__.py").write_text("raise AttributeError('_ARRAY_API')")
        monkeypatch.syspath_prepend(tmp_path)
    assert not pictures.can_plot()
    with pytest.raises(ImportError, match=r"pip install 'gpunet\[plot\]'"):
        save_curves(history(), tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()

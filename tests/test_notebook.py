"""What a notebook shows of models, optimizers, histories and pictures."""

import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

import gpunet as gn
from gpunet import notebook, progress


def cells(html):
    rows = ElementTree.fromstring(html).iter("tr")
    return [["".join(cell.itertext()) for cell in row] for row in rows]


def test_a_model_is_a_row_a_layer():
    model = gn.MLP([3, 4, 2], batch_norm=True)
    html = model._repr_html_()
    assert [row[1] for row in cells(html)] == ["layer", "Affine", "BatchNorm", "ReLU", "Affine"]
    assert [row[3] for row in cells(html)][1:] == ["16", "8", "0", "10"]
    assert "MLP, 34 parameters, cpu" in html
    assert cells(gn.ReLU()._repr_html_())[1][1:] == ["ReLU", "", "0"]


def test_a_shared_parameter_counts_once():
    layer = gn.Affine(2, 2)
    html = gn.Sequential(layer, gn.ReLU(), layer)._repr_html_()
    assert [row[3] for row in cells(html)] == ["parameters", "6", "0", "0"]


def test_an_optimizer_is_its_settings():
    model = gn.MLP([3, 4, 2])
    one = gn.Momentum(model.parameters(), lr=0.5)
    one.step()
    assert ["lr", "0.5"] in cells(one._repr_html_())
    assert "Momentum, 1 update<" in one._repr_html_()
    W, b, *_ = model.parameters()
    groups = [{"params": [W], "lr": 1.0}, {"params": [b], "lr": 2.0}]
    two = gn.SGD(groups)
    assert cells(two._repr_html_())[0] == ["setting", "group 0", "group 1"]
    assert ["lr", "1.0", "2.0"] in cells(two._repr_html_())


def test_a_history_is_curves_and_its_epochs():
    history = gn.History()
    assert "<svg" not in history._repr_html_()
    for epoch, loss in enumerate((3.0, 1.0, 2.0, 4.0), 1):
        history.rows.append({"epoch": epoch, "train_loss": loss / 2, "valid_loss": loss})
    html = history._repr_html_()
    picture, table = html.split("</svg>")
    lines = ElementTree.fromstring(picture + "</svg>").iter("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.get("points").split()) for line in lines] == [4, 4]
    assert [row[0] for row in cells(table)] == ["epoch", "1", "2", "4"]  # first, best, last


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf")])
def test_a_chart_leaves_out_what_is_no_number(gap):
    svg = notebook.chart([1, 2, 3], {"a": [1.0, gap, 2.0], "b": [gap, gap, 1.0]})
    assert svg.count("<polyline") == 1
    assert not re.search("nan|inf", svg)
    assert notebook.chart([1], {"a": [1.0]}) == ""


def luminance(colour):
    parts = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("colour", notebook.COLOURS)
def test_a_line_is_seen_on_white_and_on_black(colour):
    assert (1 + 0.05) / (luminance(colour) + 0.05) >= 3
    assert (luminance(colour) + 0.05) / 0.05 >= 3


def test_words_are_no_markup():
    assert "<b>&lt;i&gt;</b>" in notebook.table("<i>", ["a"], [["<b>"]])
    assert "<td style='text-align:left'>&lt;b&gt;</td>" in notebook.table("", ["a"], [["<b>"]])


def test_a_summary_and_a_drawing():
    model = gn.MLP([3, 2])
    assert cells(gn.summary(model, 3)._repr_html_())[1] == ["0", "Affine", "(batch, 2)", "8"]
    drawing = gn.draw(gn.SoftmaxWithLoss()(model(np.ones((2, 3))), np.zeros(2, int)))
    assert ElementTree.fromstring(drawing._repr_svg_()).tag.endswith("svg")


@pytest.mark.parametrize(("shown", "hidden"), [(None, True), (True, False), (False, True)])
def test_a_bar_outside_of_terminals(shown, hidden, capfd):
    with progress.bar(3, shown) as bar:
        assert bar.disable == hidden


def test_a_bar_in_a_notebook(monkeypatch):
    class Widget:
        __module__ = "tqdm.notebook"

        def __init__(self, total, disable, leave):
            self.disable = disable

    progress.bar(3).close()  # tqdm is loaded
    monkeypatch.setattr(sys.modules["tqdm.auto"], "tqdm", Widget)
    assert progress.bar(3).disable is False
    assert progress.bar(3, False).disable is True

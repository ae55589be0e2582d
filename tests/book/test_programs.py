"""Programs of the book's kind on gpunet.book: the book's own numbers, and lines as it has them."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.book import optimizer
from gpunet.book.multi_layer_net_extend import MultiLayerNetExtend
from tests.book.program import NETWORKS, OPTIMIZERS, losses

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "gpunet" / "book"
RECORDS = ROOT / "benchmarks" / "results" / "book"
GIVEN = json.loads((Path(__file__).with_name("losses.json")).read_text("utf-8"))


def test_the_numbers_are_the_books() -> None:
    """Those that program.py gave on the book's own code; an accuracy is the last of each."""
    found = losses(MultiLayerNetExtend, optimizer)
    assert set(found) == set(GIVEN) == {f"{n} {o}" for n in NETWORKS for o in OPTIMIZERS}
    for name, numbers in found.items():
        np.testing.assert_allclose(numbers, GIVEN[name], rtol=0, atol=1e-9, err_msg=name)


# A network of the reader's own, in the manner of chapter 5

TWO_LAYERS = """
from gpunet.book.layers import *
from gpunet.book.gradient import numerical_gradient
from collections import OrderedDict

class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        self.params = {'W1': weight_init_std * np.random.randn(input_size, hidden_size)}
        self.params['b1'] = np.zeros(hidden_size)
        self.params['W2'] = weight_init_std * np.random.randn(hidden_size, output_size)
        self.params['b2'] = np.zeros(output_size)
        self.layers = OrderedDict()
        self.layers['Affine1'] = Affine(self.params['W1'], self.params['b1'])
        self.layers['Relu1'] = Relu()
        self.layers['Affine2'] = Affine(self.params['W2'], self.params['b2'])
        self.lastLayer = SoftmaxWithLoss()

    def loss(self, x, t):
        for layer in self.layers.values():
            x = layer.forward(x)
        return self.lastLayer.forward(x, t)

    def numerical_gradient(self, x, t):
        f = lambda W: self.loss(x, t)
        return {key: numerical_gradient(f, self.params[key]) for key in self.params}

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.lastLayer.backward(1)
        layers = list(self.layers.values())
        layers.reverse()
        for layer in layers:
            dout = layer.backward(dout)
        one, two = self.layers['Affine1'], self.layers['Affine2']
        return {'W1': one.dW, 'b1': one.db, 'W2': two.dW, 'b2': two.db}
"""


@pytest.mark.parametrize("one_hot", [False, True])
def test_the_gradient_check_of_chapter_5(one_hot: bool) -> None:
    space: dict[str, Any] = {}
    exec(TWO_LAYERS, space)
    np.random.seed(0)
    network = space["TwoLayerNet"](input_size=6, hidden_size=5, output_size=4)
    x, t = np.random.rand(3, 6).astype(np.float32), np.array([0, 3, 1], np.uint8)
    t = np.eye(4)[t] if one_hot else t
    numerical, backprop = network.numerical_gradient(x, t), network.gradient(x, t)
    for key in network.params:
        assert np.average(np.abs(backprop[key] - numerical[key])) < 1e-6  # the loss has the 1e-7
        assert np.abs(backprop[key]).max() > 1e-6
    before = network.loss(x, t)
    for key in ("W1", "b1", "W2", "b2"):
        network.params[key] -= 0.1 * backprop[key]
    assert network.loss(x, t) < before  # in place, so that the layers have it


def test_the_gradient_check_of_one_row_with_batch_norm() -> None:
    """ch06/batch_norm_gradient_check takes a batch of one."""
    np.random.seed(0)
    network = MultiLayerNetExtend(5, [4, 3], 3, "sigmoid", use_batchnorm=True)
    x, t = np.random.rand(1, 5), np.array([[0, 1, 0]])
    backprop, numerical = network.gradient(x, t), network.numerical_gradient(x, t)
    for key in numerical:
        np.testing.assert_allclose(backprop[key], numerical[key], atol=1e-6)
    assert np.abs(backprop["beta2"]).max() > 0.01


def test_four_optimizers_on_two_numbers() -> None:
    """optimizer_compare_naive: Python's numbers in `params`, which are not arrays."""
    params, grads = {"x": -7.0, "y": 2.0}, {"x": 0, "y": 0}
    for made in (optimizer.SGD(lr=0.95), optimizer.Momentum(lr=0.1), optimizer.Adam(lr=0.3)):
        params["x"], params["y"] = -7.0, 2.0
        for _ in range(30):
            grads["x"], grads["y"] = params["x"] / 10.0, 2.0 * params["y"]
            made.update(params, grads)
        assert type(params["x"]) is float
        assert abs(params["x"]) < 1
        assert abs(params["y"]) < 0.5


def test_star_imports_bring_what_the_book_takes_from_them() -> None:
    """optimizer_compare_mnist has its np from the optimizers, ch04/two_layer_net from functions."""
    for module in ("optimizer", "functions", "layers", "gradient"):
        space: dict[str, Any] = {}
        exec(f"from gpunet.book.{module} import *", space)
        assert space["np"] is np
        assert "annotations" not in space


# What it is made of


def code_lines(file: Path) -> int:
    """Without blank lines and docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr, ast.arg, ast.keyword)):
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            lines |= set() if text else {node.lineno, node.end_lineno or 0}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_they_are_thin_words() -> None:
    assert 200 < sum(code_lines(file) for file in BOOK.glob("*.py")) <= 300


def test_nothing_of_it_loads_before_it_is_asked_for() -> None:
    code = "import sys, gpunet; print([m for m in sys.modules if m.startswith('gpunet.book')])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert out.stdout.split() == [b"[]"]


def test_the_benchmark_changes_import_lines_alone() -> None:
    from benchmarks.book import MODULES, with_gpunets_imports

    assert {p.stem for p in BOOK.glob("[!_]*.py")} <= set(MODULES)
    old = (
        "import numpy as np\nfrom common.layers import *\nfrom common.mine import a\nx = 'common.'"
    )
    new = with_gpunets_imports(old)
    assert new == old.replace("common.layers", "gpunet.book.layers")
    assert not re.search(r"gpunet\.book\.mine", new)


def test_the_document_has_the_records_figures() -> None:
    record = json.loads(max(RECORDS.glob("*.json")).read_text("utf-8"))
    text = (ROOT / "docs" / "book.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.* \| ([\de.-]+) \|$", text, re.MULTILINE))
    for program, seeds in record["programs"].items():
        name = program.partition("/")[2]
        if name != "overfit_dropout":
            apart = max(one["apart"] for found in seeds.values() for one in found.values())
            assert rows.pop(name) == f"{apart:.2g}"
            assert apart < 1e-6
        else:
            for way in ("book", "gpunet"):
                last = [seeds[k]["test_acc_list"]["last"][way] for k in "012"]
                assert "{:.3f}, {:.3f} and {:.3f}".format(*last) in text
    assert rows == {}

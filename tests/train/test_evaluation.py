"""gpunet.train.evaluation: loss and accuracy of held-out rows, and a model left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.loss import as_loss
from gpunet.train.evaluation import Scoring
from gpunet.train.feed import Feed
from tests.train.trainings import LABELS, LOSSES, X, assert_same, mlp, state, trainer


def test_evaluate_in_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for make, t, outputs in LOSSES.values():
        fitted = trainer(mlp(outputs=outputs), make("cpu"))
        whole = fitted.evaluate((X, t))
        with monkeypatch.context() as patch:
            patch.setattr("gpunet.train.evaluation.ROWS", 4)
            assert fitted.evaluate((X, t)) == pytest.approx(whole, rel=1e-12)


def test_numbers_have_no_accuracy() -> None:
    model = mlp(outputs=1)
    whole = np.arange(23)[:, None]  # integers, and yet no classes
    assert list(trainer(model, gn.MeanSquaredError()).evaluate((X, whole))) == ["loss"]


def test_own_loss_on_labels_has_accuracy() -> None:
    def loss(z: gn.Tensor, t: Any) -> gn.Tensor:
        return gn.softmax_cross_entropy(z, t) * 2

    model = mlp()
    assert (
        trainer(model, loss).evaluate((X, LABELS))["accuracy"]
        == (trainer(model).evaluate((X, LABELS))["accuracy"])
    )


def test_evaluation_leaves_the_model_alone(device: str) -> None:
    model = mlp(device, batch_norm=True, dropout=0.5)
    fitted = trainer(model)
    fitted.fit((X, LABELS), epochs=1, batch_size=8)
    dropout = next(layer for layer in model if isinstance(layer, gn.Dropout))
    dropout.eval()
    modes = [layer.training for layer in model]
    assert len(set(modes)) == 2
    before, calls = state(model), dropout.calls
    fitted.evaluate((X, LABELS))
    assert [layer.training for layer in model] == modes
    assert dropout.calls == calls == 3
    for name, array in state(model).items():
        np.testing.assert_array_equal(array, before[name])
    # In a fit with and without validation the same masks are drawn.
    one, two = mlp(device, dropout=0.5), mlp(device, dropout=0.5)
    trainer(one).fit((X, LABELS), epochs=2)
    trainer(two).fit((X, LABELS), (X, LABELS), epochs=2)
    assert_same(one, two)


def test_predict_is_what_the_model_puts_out(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = gn.Sequential(gn.Affine(5, 4), gn.Dropout(0.5), gn.Affine(4, 3)).to(device)
    fitted = trainer(model, gn.SoftmaxWithLoss())
    x = to_device(X[:7].astype(np.float64), device)
    monkeypatch.setattr("gpunet.train.evaluation.ROWS", 3)
    y = fitted.predict(x)
    assert (type(y), y.shape, y.dtype) == (type(x), (7, 3), np.float32)
    expected = model.eval()(to_device(X[:7].astype(np.float32), device)).data
    np.testing.assert_allclose(to_host(y), to_host(expected), rtol=1e-6)
    on_host = fitted.predict(to_host(x))
    assert isinstance(on_host, np.ndarray)
    np.testing.assert_array_equal(on_host, to_host(y))
    assert fitted.predict(x[:0]).shape == (0, 3)


# As a CUDA graph


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize("name", LOSSES)
def test_a_captured_evaluation_has_the_same_numbers_and_fewer_launches(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpunet.testing import simgpu

    monkeypatch.setattr("gpunet.train.evaluation.ROWS", 4)
    make, t, outputs = LOSSES[name]
    model, loss = mlp("cuda", outputs=outputs, batch_norm=True, dropout=0.5), as_loss(make("cuda"))
    feed = Feed((X, t), model, loss, "data")
    captured = Scoring(model, loss, captured=True)
    captured(feed)
    counts = []
    for scoring in (Scoring(model, loss), captured, captured):
        with simgpu.count() as counters:
            found = scoring(feed)
        launches = counters.launches + counters.graph_launches
        counts.append((found, launches, counters.d2h_copies))
    (plain, many, _), (captured_now, *_), (found, few, reads) = counts
    assert found == captured_now == plain
    assert few == reads == 1 < many


@pytest.mark.usefixtures("sim")
def test_a_fit_evaluates_by_graphs_what_changes_in_it() -> None:
    def fitted(capture: Any) -> list[Any]:
        model = mlp("cuda", batch_norm=True, dropout=0.5)
        one = trainer(model, capture=capture)
        one.fit((X, LABELS), (X[:9], LABELS[:9]), epochs=4, batch_size=8)
        return [(row["valid_loss"], row["valid_accuracy"]) for row in one.history.rows]

    assert fitted("auto") == fitted(False)


@pytest.mark.usefixtures("sim")
def test_what_a_graph_cannot_hold_is_evaluated_kernel_by_kernel() -> None:
    def loss(z: gn.Tensor, t: Any) -> gn.Tensor:
        calls.append(float(z.data.sum()))  # a wait for the device
        return gn.softmax_cross_entropy(z, t)

    calls = list[float]()
    model = mlp("cuda")
    feed = Feed((X, LABELS), model, as_loss(loss), "data")
    scoring = Scoring(model, as_loss(loss), captured=True)
    found = [scoring(feed) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert len(calls) >= 3


@pytest.mark.usefixtures("sim")
def test_predictions_of_many_rows_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunet.testing import simgpu

    model = mlp("cuda", batch_norm=True, dropout=0.5)
    x = to_device(X, "cuda")
    whole = trainer(model).predict(x)
    monkeypatch.setattr("gpunet.train.evaluation.ROWS", 3)
    counts = []
    for many in (100, 4):
        monkeypatch.setattr("gpunet.train.evaluation.MANY", many)
        with simgpu.count() as counters:
            found = trainer(model).predict(x)
        counts.append(counters.launches + counters.graph_launches)
        np.testing.assert_allclose(to_host(found), to_host(whole), rtol=1e-12)
    assert counts[1] < counts[0]
    np.testing.assert_array_equal(trainer(model.to("cpu")).predict(X[:0]).shape, (0, 3))


@pytest.mark.usefixtures("sim")
def test_docs_step_md_says_what_an_evaluation_asks_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In ten parts as there; how many rows each has does not matter."""
    from gpunet.testing import simgpu

    page = (Path(__file__).parents[2] / "docs/step.md").read_text("utf-8")
    lines = page.split("\nAn evaluation of 10,000 rows by ")[1].split("\n## ")[0].splitlines()
    told = {cells[1].strip(): cells[2:6] for line in lines[4:] if (cells := line.split("|"))[1:]}
    monkeypatch.setattr("gpunet.train.evaluation.ROWS", 2)
    model, loss = gn.MLP([784, 256, 128, 10], batch_norm=True, dropout=0.5), gn.SoftmaxWithLoss()
    x, t = np.ones((20, 784), np.float32), np.arange(20) % 10
    feed = Feed((x, t), model.to("cuda"), loss, "data")
    for name, captured, fuse in (
        ("layer by layer", False, False),
        ("layer by layer, captured", True, False),
        ("fused", False, True),
        ("fused and captured", True, True),
    ):
        scoring = Scoring(model, loss, captured, fuse)
        for _ in range(2):
            scoring(feed)
        with simgpu.count() as used:
            scoring(feed)
        launches = used.launches + used.graph_launches
        kernels = used.launches + used.graph_kernels
        found = [launches, kernels, used.synchronisations, used.allocations]
        assert found == [int(cell) for cell in told[name]], name

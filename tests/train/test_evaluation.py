"""gpunet.train.evaluation: loss and accuracy of held-out rows, and a model left as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
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

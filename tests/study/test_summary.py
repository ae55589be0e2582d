"""gpunet.study.summary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.study.summary import summary


def test_an_mlp(device: str) -> None:
    model = gn.MLP([64, 100, 10], batch_norm=True, dropout=0.5).to(device)
    found = summary(model, 64)
    assert [(r.name, r.kind, r.output, r.parameters) for r in found.rows] == [
        ("0", "Affine", ("batch", 100), 6500),
        ("1", "BatchNorm", ("batch", 100), 200),
        ("2", "ReLU", ("batch", 100), 0),
        ("3", "Dropout", ("batch", 100), 0),
        ("4", "Affine", ("batch", 10), 1010),
    ]
    assert found.parameters == 7710 == sum(p.size for p in model.parameters())
    assert found.bytes == 4 * (7710 + 200)
    assert (found.input, found.output) == (("batch", 64), ("batch", 10))


def test_the_text() -> None:
    text = str(summary(gn.MLP([64, 32, 10], dtype=np.float64), (7, 64)))
    assert text.splitlines()[0] == "MLP: (7, 64) to (7, 10)"
    assert text.splitlines()[4].split() == ["0", "Affine", "(7,", "32)", "2,080"]
    assert text.splitlines()[-1] == "2,410 parameters, 19,280 bytes (18.8 KiB) with buffers"
    assert len({len(line) for line in text.splitlines()[1:-1]}) == 1


def test_nothing_changes(device: str) -> None:
    gn.seed(0)
    model = gn.MLP([4, 5, 3], batch_norm=True, dropout=0.5).to(device)
    model[1].eval()
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    dropout: Any = model[3]
    model(gn.to_device(x, device)).sum().backward()
    before = {k: to_host(v).copy() for k, v in model.state_dict().items()}
    gradients = [to_host(p.grad).copy() for p in model.parameters()]
    calls, modes = dropout.calls, [k.training for k in model]
    summary(model, (6, 4))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(to_host(array), before[name])
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(to_host(p.grad), gradient)
    assert (dropout.calls, [k.training for k in model]) == (calls, modes)


def test_leading_axes_are_models() -> None:
    assert summary(gn.Affine(4, 2), (3, 5, 4)).output == (3, 5, 2)


def test_shared_layers_and_parameters_count_once() -> None:
    relu, tied = gn.ReLU(), gn.Affine(4, 4)
    other = gn.Affine(4, 4)
    other.W = tied.W
    model = gn.Sequential(tied, relu, gn.Sequential(other, relu))
    found = summary(model, 4)
    assert found.parameters == 16 + 4 + 4 == sum(p.size for p in model.parameters())
    rows = {r.name: r for r in found.rows}
    assert rows.keys() == {"0", "1", "2.0"}
    assert rows["1"].calls == 2
    assert (rows["2.0"].parameters, rows["2.0"].shared) == (4, True)
    assert "ReLU, 2 calls" in str(found)
    assert "shared 4" in str(found)


def test_layers_of_ones_own() -> None:
    class Scaled(gn.Layer):
        def __init__(self) -> None:
            self.inner, self.unused = gn.Affine(3, 3), gn.Affine(3, 9)
            self.gain = gn.Parameter(np.ones(3, np.float32))

        def call(self, x: gn.Tensor) -> gn.Tensor:
            return self.inner(x) * self.gain

    found = summary(Scaled(), 3)
    assert [(r.name, r.output, r.parameters) for r in found.rows] == [
        ("(model)", ("batch", 3), 3),
        ("inner", ("batch", 3), 12),
        ("unused", None, 36),
    ]
    assert "not called" in str(found)


@pytest.mark.parametrize("bad", [0, (), (2, -1), (2.5,), True, "64"])
def test_bad_shapes(bad: Any) -> None:
    with pytest.raises(ValueError, match="input_shape must be"):
        summary(gn.Affine(4, 2), bad)


def test_what_the_model_does_not_take() -> None:
    with pytest.raises(ValueError, match="5 features given, 4 expected"):
        summary(gn.Affine(4, 2), 5)
    with pytest.raises(TypeError, match="needs a Layer, got function"):
        summary(lambda x: x, 4)  # type: ignore[arg-type]

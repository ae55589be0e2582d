"""Logits of -inf (a class that is masked), of 3e38, and batches of weight 0, on every path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host

INF = np.inf
LOGITS = np.array([[1.0, 2.0, -INF], [0.0, -INF, 1.0]])
LABELS = np.array([0, 2])
RIGHT = np.mean([np.log(1 + np.e), np.log(1 + np.exp(-1))])
OPS = {
    "labels": (gn.softmax_cross_entropy, LABELS),
    "one-hot": (gn.softmax_cross_entropy, np.eye(3)[LABELS]),
    "kl": (gn.kl_divergence, np.eye(3)[LABELS]),
    "soft": (gn.kl_divergence, np.array([[0.5, 0.5, 0], [0.5, 0, 0.5]])),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ops(name: str, dtype: Any, xp: Any) -> None:
    op, t = OPS[name]
    z = gn.Tensor(xp.asarray(LOGITS.astype(dtype)), requires_grad=True)
    loss = op(z, xp.asarray(t))
    loss.backward()
    gradient = to_host(z.grad)
    assert np.isfinite(loss.item())
    assert np.isfinite(gradient).all()
    assert (gradient[LOGITS == -INF] == 0).all()
    if name != "soft":
        assert loss.item() == pytest.approx(RIGHT, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary(dtype: Any, xp: Any) -> None:
    for big in (INF, 3e38):
        z = gn.Tensor(xp.asarray(np.array([[big, -big]], dtype)), requires_grad=True)
        loss = gn.sigmoid_cross_entropy(z, xp.asarray(np.array([[1.0, 0.0]])))
        loss.backward()
        assert f"{loss:.4f}" == "0.0000"
        np.testing.assert_array_equal(to_host(z.grad), 0)


WAYS = ["fused", "tape", "captured"]


def step_of(model: Any, way: str, xp: Any, loss: Any = None, lr: float = 0.0) -> Any:
    model.to("cpu" if xp is np else "cuda")
    loss = loss or gn.SoftmaxWithLoss()
    step: Any = gn.Step(model, loss, gn.SGD(model.parameters(), lr=lr), fuse=way != "tape")
    return gn.capture(step) if way == "captured" else step


def masked(dtype: str) -> Any:
    """A layer whose second output is masked for every row."""
    gn.seed(0)
    model = gn.Sequential(gn.Affine(2, 4, dtype=dtype), gn.ReLU(), gn.Affine(4, 3, dtype=dtype))
    model[2].b.data = np.array([0, -INF, 0])
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_steps_with_a_masked_class(way: str, dtype: str, xp: Any) -> None:
    x, t = xp.asarray(np.arange(12.0).reshape(6, 2).astype(dtype)), xp.asarray(np.arange(6) % 2 * 2)
    model = masked(dtype)
    step = step_of(model, way, xp, lr=0.1)
    for _ in range(4):
        assert np.isfinite(float(step(x, t)))
    weights = [to_host(p.data) for p in model.parameters()]
    assert all(np.isfinite(w[w != -INF]).all() for w in weights)
    assert to_host(model[2].b.data)[1] == -INF
    assert np.isfinite(weights[2]).all()


@pytest.mark.parametrize("way", WAYS)
def test_steps_with_logits_at_the_end_of_float32(way: str, xp: Any) -> None:
    model = gn.Sequential(gn.Affine(1, 2))
    model[0].W.data = [[3e38, -3e38]]
    step = step_of(model, way, xp)
    one, zero = xp.ones((1, 1), np.float32), xp.asarray(np.array([0]))
    with np.errstate(over="ignore"):
        for _ in range(3):
            assert f"{float(step(one, zero)):.4f}" == "0.0000"
    assert np.isfinite(to_host(model[0].W.grad)).all()


@pytest.mark.parametrize("weights", [[1.0, 0.0], {0: 1.0, 1: 0.0}])
@pytest.mark.parametrize("t", [np.ones(4, int), np.eye(2)[np.ones(4, int)]])
def test_a_batch_of_weight_zero(weights: Any, t: Any, xp: Any) -> None:
    loss = gn.SoftmaxWithLoss(class_weights=weights)
    z = gn.Tensor(xp.asarray(np.arange(8.0).reshape(4, 2)), requires_grad=True)
    value = loss(z, xp.asarray(t))
    value.backward()
    assert f"{value:.4f}" == "0.0000"
    assert not to_host(z.grad).any()
    step = step_of(gn.MLP([2, 4, 2]), "fused", xp, loss, lr=0.1)
    x = xp.asarray(np.arange(8.0, dtype="f4").reshape(4, 2))
    before = [to_host(p.data).copy() for p in step.model.parameters()]
    assert float(step(x, xp.asarray(t))) == 0
    for p, old in zip(step.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(to_host(p.data), old)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_trainings_with_batches_of_weight_zero(accumulate: int, device: str) -> None:
    t = np.ones(64, int)
    t[:8] = 0
    x = np.random.default_rng(0).standard_normal((64, 4)).astype("f4")
    model = gn.MLP([4, 8, 2]).to(device)
    loss = gn.SoftmaxWithLoss(class_weights=[1.0, 0.0])
    trainer = gn.Trainer(model, loss, gn.Adam(model.parameters()), progress=False)
    rows = trainer.fit((x, t), (x, t), 2, batch_size=4, accumulate=accumulate).rows
    assert all(np.isfinite(row["train_loss"]) and row["train_loss"] > 0 for row in rows)

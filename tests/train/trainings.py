"""Data, a model and a Trainer for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.backend import to_host

LABELS = np.random.default_rng(1).integers(0, 3, 23)
X = np.random.default_rng(0).normal(size=(23, 5)) + LABELS[:, None]


def mlp(device: str = "cpu", dtype: Any = np.float64, outputs: int = 3, **options: Any) -> Any:
    gn.seed(3)
    return gn.MLP([5, 7, outputs], dtype=dtype, **options).to(device)


def trainer(model: Any, loss: Any = None, optimizer: Any = None, **options: Any) -> gn.Trainer:
    optimizer = optimizer or gn.SGD(model.parameters(), lr=0.1)
    return gn.Trainer(model, loss or gn.SoftmaxWithLoss(), optimizer, **options)


def state(model: Any) -> dict[str, Any]:
    return {name: to_host(array).copy() for name, array in model.state_dict().items()}


def assert_same(one: Any, two: Any, **tolerance: Any) -> None:
    a, b = state(one), state(two)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], **({"rtol": 0, "atol": 0} | tolerance))


def weighted(device: str) -> gn.SoftmaxWithLoss:
    return gn.SoftmaxWithLoss(class_weights=gn.to_device(np.array([0.2, 1.0, 5.0]), device))


LOSSES: dict[str, tuple[Callable[[str], Any], Any, int]] = {
    "softmax": (lambda device: gn.SoftmaxWithLoss(), LABELS, 3),
    "class weights": (weighted, LABELS, 3),
    "soft labels": (weighted, np.eye(3)[LABELS] * 0.7 + 0.1, 3),
    "mean": (lambda device: gn.MeanSquaredError(), X[:, :2], 2),
    "half sum": (lambda device: gn.MeanSquaredError("half_sum"), X[:, :2] / 10, 2),
    "sigmoid": (lambda device: gn.SigmoidWithLoss(), LABELS > 0, 1),
    "function": (lambda device: gn.softmax_cross_entropy, LABELS, 3),
}

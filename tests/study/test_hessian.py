"""gpunet.study.hessian: Hessian products, extreme eigenvalues, saddle or minimum."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.hessian import Curvature, at, gradients_of, hessian
from gpunet.study.landscapes import LANDSCAPES
from gpunet.study.standstill import standstill
from tests.console import Run


def small(dtype: type = np.float64) -> tuple[gn.Sequential, tuple[np.ndarray, np.ndarray]]:
    gn.seed(0)
    model = gn.Sequential(
        gn.Affine(3, 4, dtype=dtype),
        gn.BatchNorm(4, dtype=dtype),
        gn.Tanh(),
        gn.Dropout(0.5),
        gn.Affine(4, 2, dtype=dtype),
    )
    draw = np.random.default_rng(1)
    return model, (draw.standard_normal((9, 3)).astype(dtype), draw.integers(0, 2, 9))


def test_lanczos_finds_the_ends_of_the_whole_hessian() -> None:
    pytest.importorskip("scipy")
    model, data = small()
    found = gn.study.curvature(model, gn.SoftmaxWithLoss(), data)
    with gradients_of(model, gn.SoftmaxWithLoss(), data) as gradient:
        point = np.concatenate([p.data.ravel() for p in model.parameters()])
        values = np.linalg.eigvalsh(hessian(gradient, point))
        slope = np.linalg.norm(gradient(point))
    assert (found.lowest, found.highest) == pytest.approx((values[0], values[-1]), rel=1e-3)
    assert found.slope == pytest.approx(slope)


def test_the_square_losss_hessian_is_known() -> None:
    """Of a layer without a hidden one it is 2 X^T X / n, biases included."""
    gn.seed(0)
    model = gn.Sequential(gn.Affine(3, 1, dtype=np.float64))
    x = np.random.default_rng(0).standard_normal((8, 3))
    loss = gn.MeanSquaredError()
    with gradients_of(model, loss, (x, x[:, :1])) as gradient:
        found = hessian(gradient, np.zeros(4))
    whole = np.column_stack([x, np.ones(8)])
    scale = found[3, 3]
    assert found / scale == pytest.approx(whole.T @ whole / 8, abs=1e-8)


def test_frozen_parameters_are_constants() -> None:
    pytest.importorskip("scipy")
    model, data = small()
    for p in model.parameters()[2:]:
        p.requires_grad = False
    with gradients_of(model, gn.SoftmaxWithLoss(), data) as gradient:
        point = np.concatenate([p.data.ravel() for p in model.parameters()[:2]])
        values = np.linalg.eigvalsh(hessian(gradient, point))
    found = gn.study.curvature(model, gn.SoftmaxWithLoss(), data)
    assert found[1:] == pytest.approx((values[0], values[-1]), rel=1e-3)
    for p in model.parameters()[:2]:
        p.requires_grad = False
    with pytest.raises(ValueError, match="not 0"):
        gn.study.curvature(model, gn.SoftmaxWithLoss(), data)


def test_gradients_are_taken_where_the_model_is(device: str) -> None:
    gn.seed(0)
    model = gn.MLP([3, 4, 2])
    data = np.ones((5, 3), np.float32), np.arange(5) % 2
    point = np.linspace(-1, 1, 26)
    found = []
    for there in ("cpu", device):
        with gradients_of(model.to(there), gn.SoftmaxWithLoss(), data) as gradient:
            found.append(gradient(point))
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6)


def test_float32_has_two_digits() -> None:
    pytest.importorskip("scipy")
    sharp, rough = (
        gn.study.curvature(*[small(kind)[0], gn.SoftmaxWithLoss(), small(kind)[1]])
        for kind in (np.float64, np.float32)
    )
    assert math.isfinite(rough.lowest)
    assert rough.highest == pytest.approx(sharp.highest, rel=0.5)


def test_the_model_is_as_it_was() -> None:
    pytest.importorskip("scipy")
    model, data = small()
    model.parameters()[0].grad = np.ones((3, 4))
    before = {name: value.copy() for name, value in model.state_dict().items()}
    gn.study.curvature(model, gn.SoftmaxWithLoss(), data)
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())
    assert np.array_equal(model.parameters()[0].grad, np.ones((3, 4)))
    assert model.parameters()[1].grad is None
    assert model.training


def test_what_it_is_called() -> None:
    kinds = {
        "a minimum": (1.0, 2.0),
        "a saddle": (-1.0, 2.0),
        "a maximum": (-2.0, -1.0),
        "flat in some direction": (0.0, 2.0),
    }
    for kind, ends in kinds.items():
        assert Curvature(0.0, *ends).kind == kind
    assert at(LANDSCAPES["saddle"], (0, 0)).kind == "a saddle"
    assert at(LANDSCAPES["bowl"], (0, 0))[1:] == pytest.approx((0.1, 2))
    assert at(LANDSCAPES["inflection"], (0,)).kind == "flat in some direction"


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.sparse.linalg", None)
    model, data = small()
    with pytest.raises(ImportError, match=r"pip install 'gpunet\[study\]'"):
        gn.study.curvature(model, gn.SoftmaxWithLoss(), data)


def test_too_few_parameters() -> None:
    model = gn.Sequential(gn.Affine(1, 1))
    with pytest.raises(ValueError, match="three numbers to train or more, not 2"):
        gn.study.curvature(model, gn.MeanSquaredError(), (np.ones((2, 1)), np.ones((2, 1))))


def test_a_network_from_zeros_stands_on_a_saddle(gpunet: Run) -> None:
    pytest.importorskip("scipy")
    zeros, before, after = standstill()[1].rows
    assert zeros[1] < 1e-4  # no slope,
    assert zeros[-1] == "a saddle"  # and no minimum
    assert before[2] < -0.1
    assert after[2] > -0.01
    found = gpunet("study", "curvature")
    assert found.code == 0, found.err
    assert re.search(r"wells: the hill between .* a maximum", found.out)

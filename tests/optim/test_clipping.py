"""Clipping by the global norm and by value, inside the step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.optim.kernel import norm_of


def stepped(gradients: list[Any], device: str, **settings: Any) -> list[Any]:
    """How far SGD with lr 1 moves each parameter: the gradient that its kernel saw."""
    ps = [gn.Parameter(gn.to_device(np.zeros_like(g), device)) for g in gradients]
    for p, g in zip(ps, gradients, strict=True):
        p.grad = g
    gn.SGD(ps, lr=1.0, **settings).step()
    for p, g in zip(ps, gradients, strict=True):
        assert to_host(p.grad).tobytes() == g.tobytes()  # the gradients themselves stay
    return [-to_host(p.data) for p in ps]


def test_the_norm_is_over_all_parameters(device: str) -> None:
    g = [np.full((2, 2), 6.0), np.full(3, 0.0), np.array([5.0])]  # norm 13
    a, b, c = stepped(g, device, clip_norm=1.3)
    np.testing.assert_allclose(a, np.full((2, 2), 0.6), rtol=1e-6)
    np.testing.assert_allclose(c, [0.5], rtol=1e-6)
    assert not b.any()


def test_a_norm_below_the_limit_changes_nothing(device: str) -> None:
    g = [np.array([3.0, 4.0]), np.array([-0.0])]
    for limit in (5.1, 1e30):
        for found, given in zip(stepped(g, device, clip_norm=limit), g, strict=True):
            assert (found == given).all()


def test_the_norm_is_over_all_groups_and_both_dtypes(device: str) -> None:
    p = gn.Parameter(gn.to_device(np.zeros(4, np.float32), device))
    q = gn.Parameter(gn.to_device(np.zeros(1), device))
    p.grad, q.grad = np.full(4, 6, np.float32), np.array([5.0])
    gn.SGD([{"params": [p]}, {"params": [q]}], lr=1.0, clip_norm=1.3).step()
    np.testing.assert_allclose(to_host(p.data), np.full(4, -0.6), rtol=1e-6)
    np.testing.assert_allclose(to_host(q.data), [-0.5], rtol=1e-6)


def test_by_value_clamps_each_element(device: str) -> None:
    g = [np.array([0.3, -0.3, 7.0, -7.0, math.inf])]
    (found,) = stepped(g, device, clip_value=0.5)
    assert found.tolist() == [0.3, -0.3, 0.5, -0.5, 0.5]


def test_by_norm_comes_before_by_value(device: str) -> None:
    (found,) = stepped([np.array([30.0, 40.0])], device, clip_norm=5.0, clip_value=3.5)
    np.testing.assert_allclose(found, [3.0, 3.5], rtol=1e-6)


def test_both_come_before_weight_decay(device: str) -> None:
    p = gn.Parameter(gn.to_device(np.array([2.0]), device))
    p.grad = np.array([100.0])
    gn.SGD([p], lr=1.0, weight_decay=0.25, clip_value=1.0).step()
    assert to_host(p.data).tolist() == [0.5]


def test_no_gradient_is_too_large_for_the_norm(device: str) -> None:
    """Its square is infinite in float32; a clipped gradient must keep its direction."""
    (found,) = stepped([np.array([3e25, 4e25], np.float32)], device, clip_norm=1.0)
    np.testing.assert_allclose(found, [0.6, 0.8], rtol=1e-6)


def test_a_tiny_gradient_passes(device: str) -> None:
    g = np.array([3e-25, 4e-25], np.float32)
    (found,) = stepped([g], device, clip_norm=1e-4)
    assert (found == g).all()


def test_many_small_terms_are_not_lost(device: str) -> None:
    """One large gradient, then a million small ones: a float32 sum would lose them."""
    g = np.full(10**6, 1e-4, np.float32)
    g[0] = 1.0
    expected = math.sqrt(1 + 0.01)
    assert float(norm_of(gn.to_device(g, device))) == pytest.approx(expected, rel=1e-7)


def test_a_nan_gradient_is_not_hidden(device: str) -> None:
    (found,) = stepped([np.array([1.0, math.nan])], device, clip_norm=1.0, clip_value=0.5)
    assert np.isnan(found).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_kernel_equals_its_reference(dtype: Any, cupy: Any) -> None:
    """The order of additions differs (a tree on the GPU), so a few ulps of float64."""
    draw = np.random.default_rng(4)
    for size in (1, 63, 64, 1000, 40_000):
        x = draw.standard_normal(size).astype(dtype)
        found = norm_of(cupy.asarray(x))
        assert found.dtype == np.float64
        assert float(found) == pytest.approx(float(norm_of(x)), rel=4e-15)

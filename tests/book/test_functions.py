"""gpunet.book.functions, gradient and util."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet.backend import to_host
from gpunet.book.functions import cross_entropy_error, sigmoid, sigmoid_grad, softmax
from gpunet.book.gradient import numerical_gradient
from gpunet.book.util import shuffle_dataset, smooth_curve


def test_functions(xp: Any) -> None:
    x = xp.asarray([[-1.0, 0.0, 2.0]])
    s = 1 / (1 + np.exp(-to_host(x)))
    np.testing.assert_allclose(to_host(sigmoid(x)), s)
    np.testing.assert_allclose(to_host(sigmoid_grad(x)), s * (1 - s))
    e = np.exp(to_host(x))
    np.testing.assert_allclose(to_host(softmax(x)), e / e.sum())
    np.testing.assert_allclose(to_host(softmax(x[0])), (e / e.sum())[0])


def test_cross_entropy_error(xp: Any) -> None:
    y = xp.asarray([[0.1, 0.6, 0.3], [0.0, 0.5, 0.5]])
    expected = -(np.log(0.6 + 1e-7) + np.log(1e-7)) / 2
    labels = xp.asarray([1, 0], dtype=np.uint8)
    for t in (labels, xp.eye(3)[labels]):
        assert float(cross_entropy_error(y, t)) == pytest.approx(expected)
    assert float(cross_entropy_error(y[0], xp.asarray([0, 1, 0]))) == pytest.approx(
        -np.log(0.6 + 1e-7)
    )


def test_numerical_gradient(xp: Any) -> None:
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    found = numerical_gradient(lambda x: (x**2).sum(), x)
    np.testing.assert_allclose(to_host(found), [[2, 4], [6, 8]], rtol=1e-6)
    assert to_host(x).tolist() == [[1, 2], [3, 4]]


def test_numerical_gradient_puts_x_back_when_f_fails() -> None:
    x = np.ones(2)

    def f(x: Any) -> float:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        numerical_gradient(f, x)
    assert x.tolist() == [1, 1]


def test_smooth_curve() -> None:
    noise = np.random.default_rng(0).standard_normal(100)
    smooth = smooth_curve(list(noise))
    assert smooth.shape == (100,)
    assert smooth.std() < 0.5 * noise.std()
    np.testing.assert_allclose(smooth_curve(np.ones(30)), 1)


def test_shuffle_dataset(xp: Any) -> None:
    x, t = xp.arange(20.0).reshape(10, 2), xp.arange(10)
    found_x, found_t = (to_host(a) for a in shuffle_dataset(x, t))
    assert sorted(found_t) == list(range(10))
    assert list(found_t) != list(range(10))
    np.testing.assert_array_equal(found_x[:, 0], 2 * found_t)

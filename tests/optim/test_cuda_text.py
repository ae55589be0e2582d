"""Proof 1: the CUDA text, compiled by g++, computes what the NumPy reference computes.

Both round every operation to nearest (g++ runs with -ffp-contract=off), and the optimizers use
only + - * / sqrt, which IEEE 754 rounds correctly: the paths must stay equal for 50 steps. One ulp
is allowed. exp and tanh are another matter: see `LIBM`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import activations, functional
from gpunet.optim.kernel import Arrays, UpdateKernel
from tests.gpu.parity import row_of, state_of
from tests.optim.cases import BEFORE, FORMULAS, name_of

STEPS = 50
DTYPES = [np.float32, np.float64]

# NumPy's exp and tanh (SIMD) and the C library's are each within a few ulps of the true value, but
# not correctly rounded; NumPy promises at most 4 ulps, and sigmoid divides by 1 + exp.
LIBM = 4


def gradients(dtype: Any, extreme: bool) -> Any:
    """(STEPS, n): signs that change, zeros; extreme: 0, 1e-25 and 1e25 all the way."""
    draw = np.random.default_rng(5)
    g = draw.standard_normal((STEPS, 40)) * (draw.random((STEPS, 40)) > 0.2)
    g[:, 0] = 0
    g[:, 1] = np.abs(g[:, 1])
    if extreme:
        g[:, 2] = 1e-25
        g[:, 3] = 1e25
        g[:, 4] *= 1e-25
        g[:, 5] *= 1e25
        g[:, 6] *= 10.0 ** draw.integers(-25, 25, STEPS)
    return g.astype(dtype)


class Run:
    """An optimizer's kernel alone, stepped on one device."""

    def __init__(self, optimizer: Any, xp: Any, param: Any) -> None:
        self.optimizer, self.xp = optimizer, xp
        self.param = xp.asarray(param.copy())
        self.state = state_of(optimizer, self.param)

    def step(self, t: int, grad: Any, norm: Any) -> None:
        arrays = Arrays(self.xp.asarray(grad), self.state)
        row = row_of(self.optimizer, t, self.xp, grad.dtype)
        self.optimizer.kernel.update(arrays, row, self.xp.asarray(norm))


def largest_difference(optimizer: Any, cupy: Any, ulps: Any, dtype: Any, extreme: bool) -> int:
    """In ulps, over all arrays and steps."""
    start = np.random.default_rng(6).standard_normal(40).astype(dtype)
    both = [Run(optimizer, np, start), Run(optimizer, cupy, start)]
    worst = 0
    for t, g in enumerate(gradients(dtype, extreme), 1):
        norm = np.array([np.linalg.norm(g.astype(np.float64))]).astype(dtype)
        for run in both:
            run.step(t, g, norm)
        here, there = ({k: flushed(a) for k, a in run.state.items()} for run in both)
        worst = max(worst, *(ulps(a, there[k]) for k, a in here.items()))
    return worst


def flushed(a: Any) -> Any:
    """On the CPU and on a GPU small float32 numbers are 0; the simulated GPU computes with them, in
    its plain arithmetic.
    """
    a = gn.to_device(a, "cpu")
    small = (np.abs(a) < np.finfo(np.float32).tiny) & (a.dtype == np.float32)
    return np.where(small, 0, a).astype(a.dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("case", FORMULAS + BEFORE, ids=name_of)
def test_every_update(case: Any, dtype: Any, cupy: Any, ulps: Any) -> None:
    optimizer = gn.OPTIMIZERS[case[0]](**case[1])
    assert largest_difference(optimizer, cupy, ulps, dtype, extreme=False) <= 1


@pytest.mark.parametrize("case", FORMULAS, ids=name_of)
def test_every_update_at_extreme_gradients(case: Any, cupy: Any, ulps: Any) -> None:
    """In float32, where their squares are infinite or 0."""
    optimizer = gn.OPTIMIZERS[case[0]](**case[1])
    assert largest_difference(optimizer, cupy, ulps, np.float32, extreme=True) <= 1


@pytest.mark.parametrize("name", gn.OPTIMIZERS)
def test_a_nan_gradient_is_a_nan_parameter_on_both(name: str, cupy: Any) -> None:
    """A wrong gradient must show, and on each device alike."""
    optimizer = gn.OPTIMIZERS[name]()
    grad = np.array([1.0, np.nan, -1.0], np.float32)
    for xp in (np, cupy):
        run = Run(optimizer, xp, np.ones(3, np.float32))
        run.step(1, grad, np.zeros(1, np.float32))
        assert np.isnan(gn.to_device(run.param, "cpu")).tolist() == [False, True, False]


def test_the_comparison_sees_a_wrong_kernel(cupy: Any, ulps: Any) -> None:
    def reference(grad: Any, lr: Any, param: Any) -> None:
        param -= lr * grad * (1 + 3 * np.finfo(grad.dtype).eps)

    class Wrong(gn.SGD):
        kernel = UpdateKernel("optim/sgd", reference)

    assert largest_difference(Wrong(lr=0.1), cupy, ulps, np.float32, extreme=False) > 1


def test_ulps_are_counted(ulps: Any) -> None:
    one = np.array([1.0, 0.0, -1.0, np.inf, np.nan], np.float32)
    assert ulps(one, np.array([1.0, -0.0, -1.0, np.inf, np.nan], np.float32)) == 0
    assert ulps(np.nextafter(one[:1], np.float32(2)), one[:1]) == 1
    tiny = np.float32([1e-45])
    assert ulps(tiny, -tiny) == 2
    with pytest.raises(AssertionError, match="nan in one"):
        ulps(one[4:], one[:1])


# The kernels of a network


def activate(name: str, x: Any) -> Any:
    return activations.ACTIVATE(x, activations.NUMBERS[name], 0.0)


def inputs(dtype: Any) -> Any:
    draw = np.random.default_rng(7)
    special = [0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0, 1e30, -1e30, np.inf, -np.inf]
    return np.concatenate([draw.standard_normal(2000) * 5, special]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize(("name", "bound"), [("relu", 0), ("sigmoid", LIBM), ("tanh", LIBM)])
def test_activations(name: str, bound: int, dtype: Any, cupy: Any, ulps: Any) -> None:
    x = np.append(inputs(dtype), dtype(np.nan))
    assert ulps(activate(name, x), activate(name, cupy.asarray(x))) <= bound


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activation_gradients(name: str, dtype: Any, cupy: Any, ulps: Any) -> None:
    y = activate(name, inputs(dtype))
    gy = np.random.default_rng(8).standard_normal(y.shape).astype(dtype)
    gy[:20] = np.inf
    act, backward = activations.NUMBERS[name], activations.ACTIVATE_BACKWARD
    here = backward(gy, y, act, 0.0)
    assert ulps(here, backward(cupy.asarray(gy), cupy.asarray(y), act, 0.0)) == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 33), (2, 7, 9), (2, 3, 4, 5)])
def test_dropout_bit_for_bit(shape: Any, dtype: Any, cupy: Any) -> None:
    x = np.random.default_rng(9).standard_normal(shape).astype(dtype)
    for seed, step in ((0, 0), (7, 1), (2**63 - 1, 2**33)):
        for p in (0.1, 0.5, 1.0):
            scale = 1 / (1 - p) if p < 1 else 0.0
            rest = (scale, seed, step, round(p * 65536), shape[-1] * shape[-2])
            for calls in (0, 3):
                counters = np.array([0, calls, 0, 0, 0, 0, 0, 0])
                found = functional.masked(cupy.asarray(x), cupy.asarray(counters), *rest)
                expected = functional.masked(x, counters, *rest)
                assert cupy.asnumpy(found).tobytes() == expected.tobytes()

"""gpunet.activations: each by its definition, gradcheck, hand values and at the ends; the table
beside CUDA's.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import activations
from gpunet import functional as F
from gpunet.activations import NUMBERS, TABLE
from gpunet.backend import to_host
from gpunet.source import kernel_dir
from gpunet.study.gradcheck import gradcheck
from tests.networks import BATCHES, check, golden, numbers, same


def run(op: gn.Op, gy: Any, x: Any, **options: Any) -> tuple[Any, Any]:
    """Output and gradient of an op through the tape."""
    leaf = gn.Tensor(x, requires_grad=True)
    y = op(leaf, **options)
    y.backward(gy)
    return y.data, leaf.grad


# By their definitions, one number after the other.
BY_DEFINITION: dict[str, tuple[gn.Op, dict[str, Any], Any]] = {
    "relu": (F.relu, {}, lambda x: max(x, 0.0)),
    "sigmoid": (F.sigmoid, {}, lambda x: 1 / (1 + math.exp(-x))),
    "tanh": (F.tanh, {}, math.tanh),
    "leaky_relu": (F.leaky_relu, {"slope": 0.3}, lambda x: x if x > 0 else 0.3 * x),
    "elu": (F.elu, {"alpha": 0.7}, lambda x: x if x > 0 else 0.7 * (math.exp(x) - 1)),
    "softplus": (F.softplus, {}, lambda x: math.log(1 + math.exp(x))),
    "silu": (F.silu, {}, lambda x: x / (1 + math.exp(-x))),
    "gelu": (F.gelu, {}, lambda x: x * math.erfc(-x / math.sqrt(2)) / 2),
    "gelu_tanh": (
        F.gelu,
        {"approximate": "tanh"},
        lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
}
each = pytest.mark.parametrize("name", BY_DEFINITION)


def test_every_row_of_the_table_is_tried_here() -> None:
    assert list(BY_DEFINITION) == list(TABLE)
    assert {op.__name__ for op, *_ in BY_DEFINITION.values()} == set(activations.__all__)


def test_cuda_has_the_same_table() -> None:
    """The order gives the numbers, and the source says what a kernel keeps."""
    text = (kernel_dir() / "nn/activation.cuh").read_text("utf-8")
    rows = re.findall(r"^    ROW\((\w+), (\w+), ", text, re.MULTILINE)
    sources = {"OUTPUT": "output", "OUTPUT_0": "output 0", "INPUT": "input"}
    found = {name.lower(): sources[source] for name, source in rows}
    assert list(found.items()) == [(name, f.source) for name, f in TABLE.items()]
    assert [NUMBERS[name] for name in found] == list(range(1, len(found) + 1))


@each
def test_values_are_those_of_the_definition(xp: Any, name: str) -> None:
    op, options, definition = BY_DEFINITION[name]
    x = np.concatenate([np.linspace(-8, 8, 161), [-1e-9, 0.0, 1e-9]])
    check(op(xp.asarray(x), **options), np.array([definition(v) for v in x]), rtol=1e-13)
    y32 = op(xp.asarray(x.astype(np.float32)), **options)
    assert y32.dtype == np.float32
    exact = np.array([definition(float(v)) for v in x.astype(np.float32)])
    np.testing.assert_allclose(to_host(y32.data), exact, rtol=3e-6, atol=1e-7)


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activations_equal_pytorch(xp: Any, name: str, rows: int) -> None:
    g = golden(xp, f"{name}/b{rows}")
    y, dx = run(getattr(F, name), g["gy"], g["x"])
    check(y, g["y"])
    check(dx, g["dx"])


@pytest.mark.parametrize("shape", [(), (7,), (4, 3), (2, 4, 3), (0, 3)], ids=str)
@each
def test_activations_pass_gradcheck(xp: Any, name: str, shape: Any) -> None:
    op, options, _ = BY_DEFINITION[name]
    assert gradcheck(lambda x: op(x, **options), [numbers(xp, *shape)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each
def test_nothing_overflows_and_the_ends_are_limits(xp: Any, name: str, dtype: Any) -> None:
    op, options, _ = BY_DEFINITION[name]
    big = float(np.finfo(dtype).max)
    x = np.array([-np.inf, -big, -1e4, -200, 200, 1e4, big, np.inf], dtype)
    with np.errstate(all="raise", under="ignore"):
        y, dx = run(op, xp.ones(8, dtype), xp.asarray(x), **options)
    assert y.dtype == dx.dtype == dtype
    bounded = name in ("sigmoid", "tanh")
    np.testing.assert_array_equal(to_host(y)[4:], [1, 1, 1, 1] if bounded else x[4:])
    left = {"tanh": -1.0, "elu": -0.7}.get(name, 0.0)
    wanted = np.float64(0.3) * x[:4] if name == "leaky_relu" else np.full(4, left)
    np.testing.assert_allclose(to_host(y)[:4], wanted, rtol=1e-6, atol=1e-30)
    slopes = [0.3 if name == "leaky_relu" else 0.0] * 4 + [0.0 if bounded else 1.0] * 4
    np.testing.assert_allclose(to_host(dx), slopes, rtol=1e-6, atol=1e-7)


@each
def test_nan_goes_through(xp: Any, name: str) -> None:
    op, options, _ = BY_DEFINITION[name]
    y, dx = run(op, xp.ones(3), xp.asarray(np.array([1.0, np.nan, 2.0])), **options)
    assert np.isnan(to_host(y)).tolist() == [False, True, False]
    assert np.isfinite(to_host(dx)[[0, 2]]).all()
    assert name in ("relu", "leaky_relu") or np.isnan(to_host(dx)[1])


@pytest.mark.parametrize(
    ("op", "options", "at_0"),
    [(F.relu, {}, 0.0), (F.leaky_relu, {"slope": 0.2}, 0.2), (F.elu, {"alpha": 3.0}, 3.0)],
)
def test_the_subgradient_at_0(xp: Any, op: gn.Op, options: Any, at_0: float) -> None:
    for zero in (0.0, -0.0):
        _, dx = run(op, xp.ones(1), xp.asarray(np.array([zero])), **options)
        assert dx.tolist() == [at_0]


@pytest.mark.parametrize(("op", "name"), [(F.leaky_relu, "slope"), (F.elu, "alpha")])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "1", None])
def test_settings_that_are_none(op: gn.Op, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0 and finite, got"):
        op(np.ones(3), **{name: value})


@pytest.mark.parametrize("value", ["erf", True, None])
def test_gelu_has_two_forms(value: Any) -> None:
    with pytest.raises(ValueError, match='approximate must be "none" or "tanh", got'):
        F.gelu(np.ones(3), approximate=value)
    x = np.linspace(-6, 6, 1001)
    off = abs(F.gelu(x).data - F.gelu(x, approximate="tanh").data).max()
    assert 1e-4 < off < 5e-4


def test_relu_by_hand(xp: Any) -> None:
    x = xp.asarray(np.array([-1.0, -0.0, 0.0, 2.0, np.inf, -np.inf]))
    y, dx = run(F.relu, xp.asarray(np.full(6, 3.0)), x)
    same(y, [0.0, 0.0, 0.0, 2.0, np.inf, 0.0])
    same(dx, [0.0, 0.0, 0.0, 3.0, 3.0, 0.0])


def test_relu_stops_an_infinite_gradient(xp: Any) -> None:
    """inf * 0 is nan: where ReLU is off the gradient is 0, whatever comes from behind."""
    x = xp.asarray(np.array([-1.0, 1.0, -1.0]))
    _, dx = run(F.relu, xp.asarray(np.array([np.inf, np.inf, np.nan])), x)
    same(dx, [0.0, np.inf, 0.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_never_overflows(xp: Any, dtype: Any) -> None:
    x = xp.asarray(np.array([-np.inf, -1e4, -90, 0, 90, 1e4, np.inf], dtype))
    with np.errstate(all="raise", under="ignore"):
        y, dx = run(F.sigmoid, xp.ones_like(x), x)
    assert y.dtype == dtype
    tiny = np.finfo(dtype).tiny  # a GPU makes 0 of what is smaller, in float32
    np.testing.assert_allclose(to_host(y), [0, 0, np.exp(-90.0), 0.5, 1, 1, 1], atol=tiny)
    assert np.isfinite(to_host(dx)).all()

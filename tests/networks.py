"""Layers to test with, in float64, PyTorch's values for them, and how arrays are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.backend import to_host

GOLDEN = np.load(Path(__file__).parent / "golden" / "layers.npz")
BATCHES = (2, 5, 33)
F64 = np.float64


def golden(xp: Any, case: str) -> dict[str, Any]:
    start = f"{case}/"
    return {n[len(start) :]: xp.asarray(GOLDEN[n]) for n in GOLDEN.files if n.startswith(start)}


def numbers(xp: Any, *shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return xp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def check(found: Any, wanted: Any, rtol: float = 1e-12) -> None:
    found = to_host(found.data if isinstance(found, gn.Tensor) else found)
    wanted = to_host(wanted)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol)


def leaf(xp: Any, values: Any, dtype: Any = np.float64) -> gn.Tensor:
    return gn.Tensor(xp.asarray(np.array(values, dtype)), requires_grad=True)


def near(found: Any, wanted: Any, rtol: float = 1e-14) -> None:
    """As `check`, of any dtype and from lists: for values that were written by hand."""
    found = to_host(found.data if isinstance(found, gn.Tensor) else found)
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-15)


def same(found: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(to_host(found), to_host(wanted))


def same_states(a: Any, b: Any) -> None:
    assert list(a) == list(b)
    for name in a:
        same(a[name], b[name])


def random_batch_norm(features: int, seed: int = 0, **options: Any) -> gn.BatchNorm:
    """Float64, with gamma of both signs and statistics unlike 0 and 1."""
    rng = np.random.default_rng(seed)
    layer = gn.BatchNorm(features, dtype=np.float64, **options)
    layer.gamma.data = rng.standard_normal(features)
    layer.beta.data = rng.standard_normal(features)
    layer.running_mean[...] = rng.standard_normal(features)
    layer.running_var[...] = rng.uniform(0.5, 2, features)
    return layer


LAYERS: dict[str, Callable[[], gn.Layer]] = {
    "Affine": lambda: gn.Affine(4, 3, dtype=F64),
    "Affine without bias": lambda: gn.Affine(4, 3, bias=False, dtype=F64),
    "ReLU": gn.ReLU,
    "Sigmoid": gn.Sigmoid,
    "Tanh": gn.Tanh,
    "LeakyReLU": lambda: gn.LeakyReLU(0.3),
    "ELU": lambda: gn.ELU(0.7),
    "Softplus": gn.Softplus,
    "SiLU": gn.SiLU,
    "GELU": gn.GELU,
    "GELU, tanh": lambda: gn.GELU("tanh"),
    "Rescale": lambda: gn.Rescale(0.5, dtype=F64),
    "BatchNorm": lambda: random_batch_norm(4),
    "BatchNorm in evaluation": lambda: random_batch_norm(4).eval(),
    "Dropout": lambda: gn.Dropout(0.4),
    "Dropout in evaluation": lambda: gn.Dropout(0.4).eval(),
    "Sequential": lambda: gn.Sequential(
        gn.Affine(4, 5, dtype=F64), random_batch_norm(5), gn.Tanh(), gn.Affine(5, 2, dtype=F64)
    ),
    "empty Sequential": gn.Sequential,
    "MLP": lambda: gn.MLP([4, 6, 5, 2], "sigmoid", batch_norm=True, dropout=0.3, dtype=F64),
}

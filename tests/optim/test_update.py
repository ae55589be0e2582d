"""opt.update(params, grads): dicts of arrays, the interface of the "from scratch" book."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from tests.optim.cases import REPRESENTATIVES

SHAPES = {"W1": (3, 4), "b1": (4,), "scale": ()}


def arrays(xp: Any, dtype: Any = np.float64, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {k: xp.asarray(np.asarray(draw.standard_normal(s), dtype)) for k, s in SHAPES.items()}


def test_the_books_usage() -> None:
    params = {"W1": np.ones((2, 2)), "b1": np.ones(2)}
    grads = {"W1": np.full((2, 2), 5.0), "b1": np.full(2, 10.0)}
    W1 = params["W1"]
    optimizer = gn.SGD(lr=0.1)
    optimizer.update(params, grads)
    assert params["W1"] is W1
    assert W1.tolist() == [[0.5, 0.5]] * 2
    assert params["b1"].tolist() == [0, 0]
    assert optimizer.t == 1


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_value": 0.5}])
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_it_equals_step(name: str, clip: Any, xp: Any) -> None:
    params = arrays(xp)
    ps = [gn.Parameter(a.copy(), decay=a.ndim > 1) for a in params.values()]
    by_step = gn.OPTIMIZERS[name](ps, weight_decay=0.1, **clip)
    by_dict = gn.OPTIMIZERS[name](weight_decay=0.1, **clip)
    for t in range(5):
        grads = arrays(xp, seed=t + 1)
        for p, g in zip(ps, grads.values(), strict=True):
            p.grad = g
        by_step.step()
        by_dict.update(params, grads)
    for p, a in zip(ps, params.values(), strict=True):
        np.testing.assert_allclose(to_host(a), to_host(p.data), rtol=1e-13 if clip else 0)


@pytest.mark.parametrize("name", ["adam", "cocob", "rprop", "rmsprop"])
def test_arrays_need_not_be_contiguous(name: str, xp: Any) -> None:
    whole = xp.asarray(np.random.default_rng(0).standard_normal((6, 8)))
    views = {"a": whole[::2, ::-1], "b": whole[1::2].T}
    plain = {k: v.copy() for k, v in views.items()}
    for clip_norm in (None, 1.0):
        one, other = (gn.OPTIMIZERS[name](clip_norm=clip_norm) for _ in range(2))
        for t in range(3):
            draw = np.random.default_rng(t)
            grads = {"a": draw.standard_normal((3, 8)), "b": draw.standard_normal((3, 8)).T}
            grads = {k: xp.asarray(g) for k, g in grads.items()}
            one.update(views, grads)
            other.update(plain, {k: g.copy() for k, g in grads.items()})
    for k, view in views.items():
        np.testing.assert_allclose(to_host(view), to_host(plain[k]), rtol=1e-13)
    assert (to_host(whole[::2, ::-1]) == to_host(views["a"])).all()


def test_weight_decay_leaves_vectors_alone_unless_asked(xp: Any) -> None:
    for decay_all in (False, True):
        params = {k: xp.ones(s) for k, s in SHAPES.items()}
        zeros = {k: xp.zeros(s) for k, s in SHAPES.items()}
        gn.SGD(lr=0.5, weight_decay=0.5, decay_all=decay_all).update(params, zeros)
        found = {k: float(to_host(a).max()) for k, a in params.items()}
        other = 0.75 if decay_all else 1.0
        assert found == {"W1": 0.75, "b1": other, "scale": other}


def wrong(xp: Any) -> list[tuple[dict[str, Any], str]]:
    good = arrays(xp)
    return [
        ({"W1": good["W1"]}, "different keys: b1, scale"),
        ({**good, "more": good["b1"]}, "different keys: more"),
        ({**good, "b1": good["W1"]}, r"grads\['b1'\] must be float64 of shape \(4,\), got"),
        ({**good, "b1": good["b1"].astype(np.float32)}, r"grads\['b1'\] .* got float32"),
        ({**good, "scale": 1.0}, r"grads\['scale'\] must be .*got float"),
    ]


@pytest.mark.parametrize("case", range(5))
def test_wrong_gradients_are_named_and_change_nothing(case: int, xp: Any) -> None:
    grads, message = wrong(xp)[case]
    params = arrays(xp)
    optimizer = gn.Adam()
    with pytest.raises(ValueError, match=message):
        optimizer.update(params, grads)
    assert optimizer.t == 0
    for k, a in arrays(xp).items():
        assert (to_host(params[k]) == to_host(a)).all()


@pytest.mark.parametrize("param", [[1.0], 1.0, np.ones(2, np.int64), np.ones(2, np.float16)])
def test_parameters_are_float_arrays(param: Any) -> None:
    with pytest.raises(ValueError, match=r"params\['w'\] must be a float32 or float64 array"):
        gn.SGD().update({"w": param}, {"w": param})


def test_an_array_must_not_change_its_shape_dtype_or_device(xp: Any) -> None:
    optimizer = gn.Adam()
    ones = xp.ones(3)
    optimizer.update({"w": ones}, {"w": ones})
    for other in (xp.ones(4), xp.ones(3, np.float32), xp.ones((3, 1))):
        with pytest.raises(ValueError, match=r"params\['w'\] was float64 of shape \(3,\)"):
            optimizer.update({"w": other}, {"w": other})
    assert optimizer.t == 1


def test_arrays_of_two_devices_are_refused(cupy: Any) -> None:
    host, there = np.ones(3), cupy.ones(3)
    optimizer = gn.Adam()
    for params, grads in (({"w": host}, {"w": there}), ({"w": there}, {"w": host})):
        with pytest.raises(gn.DeviceError, match="Adam got arrays of two devices"):
            optimizer.update(params, grads)
    optimizer.update({"w": there}, {"w": there})
    with pytest.raises(gn.DeviceError, match="two devices"):
        optimizer.update({"w": host}, {"w": host})


def test_keys_may_come_and_go(xp: Any) -> None:
    optimizer = gn.Momentum(lr=1.0, momentum=0.5)
    a, b = xp.zeros(1), xp.zeros(1)
    optimizer.update({"a": a}, {"a": xp.ones(1)})
    optimizer.update({"b": b}, {"b": xp.ones(1)})
    optimizer.update({"b": b, "a": a}, {"a": xp.ones(1), "b": xp.ones(1)})
    assert (to_host(a).tolist(), to_host(b).tolist()) == ([-2.5], [-2.5])
    optimizer.update({}, {})
    assert optimizer.t == 4

"""Cases worked out with pencil and paper, and identities between optimizers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host


def path(optimizer: Any, gradients: Any, device: str, start: Any = 0.0, dtype: Any = None) -> Any:
    """The parameters after each step, (steps, n); `optimizer` takes the list of parameters."""
    gradients = np.asarray(gradients, dtype or np.float64)
    gradients = gradients.reshape(len(gradients), -1)
    first = np.full(gradients.shape[1], start, gradients.dtype)
    p = gn.Parameter(gn.to_device(first, device))
    stepping = optimizer([p])
    found = []
    for g in gradients:
        p.grad = g
        stepping.step()
        found.append(to_host(p.data).copy())
    return np.array(found)


def noise(steps: int, width: int = 6, seed: int = 3) -> Any:
    return np.random.default_rng(seed).standard_normal((steps, width))


# Momentum and Nesterov


def test_momentum_moves_the_second_step_further_than_sgd(device: str) -> None:
    momentum = path(lambda p: gn.Momentum(p, lr=0.1, momentum=0.9), [5, 3], device)
    sgd = path(lambda p: gn.SGD(p, lr=0.1), [5, 3], device)
    assert momentum[:, 0].tolist() == pytest.approx([-0.5, -0.5 - 0.75], rel=1e-15)
    steps = momentum[1] - momentum[0], sgd[1] - sgd[0]
    assert steps[0] - steps[1] == pytest.approx(-0.45, rel=1e-14)


@pytest.mark.parametrize("kind", [gn.Momentum, gn.Nesterov])
def test_without_momentum_it_is_sgd(kind: Any, device: str) -> None:
    """But for an ulp a step: a GPU rounds a product and a sum once where the two stand together."""
    g = noise(10)
    plain = path(lambda p: gn.SGD(p, lr=0.1), g, device)
    found = path(lambda p: kind(p, lr=0.1, momentum=0.0), g, device)
    ulp = np.spacing(np.abs(plain).max())
    np.testing.assert_allclose(found, plain, rtol=0, atol=len(g) * ulp)


def test_nesterov_is_the_look_ahead_form(device: str) -> None:
    """Sutskever 2013: v = mu v - lr grad(theta + mu v), theta += v; the optimizer's parameter phi
    is theta + mu v."""
    mu, lr = 0.9, 0.02
    curvature = np.array([1.0, 10.0, 30.0])
    phi = gn.Parameter(gn.to_device(np.array([1.0, -2.0, 0.5]), device))
    optimizer = gn.Nesterov([phi], lr=lr, momentum=mu)
    theta, v = np.array([1.0, -2.0, 0.5]), np.zeros(3)
    for _ in range(40):
        phi.grad = curvature * to_host(phi.data)
        optimizer.step()
        v = mu * v - lr * curvature * (theta + mu * v)
        theta = theta + v
        velocity = to_host(optimizer.state_dict()["state"]["velocity"][0])
        np.testing.assert_allclose(to_host(phi.data) - mu * velocity, theta, rtol=0, atol=1e-15)


# COCOB


@pytest.mark.parametrize("size", [1e-25, 1e-3, 1.0, 1e25])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cocob_first_step_is_a_hundredth(size: float, dtype: Any, device: str) -> None:
    found = path(lambda p: gn.COCOB(p, eps=0), [[size, -size]], device, dtype=dtype)
    np.testing.assert_allclose(found, [[-0.01, 0.01]], rtol=1e-6 if dtype == np.float32 else 1e-15)


def test_cocob_grows_as_its_closed_form(device: str) -> None:
    """|w_t - w_1| = (t / alpha) prod_{s<t} (1 + s / alpha) while the sign stays and t < alpha."""
    found = path(lambda p: gn.COCOB(p, eps=0), np.full((99, 1), -2.0), device, start=3.0)[:, 0] - 3
    closed = [t / 100 * math.prod(1 + s / 100 for s in range(1, t)) for t in range(1, 100)]
    np.testing.assert_allclose(found, closed, rtol=1e-12)
    assert found[9] == pytest.approx(0.155, abs=1e-3)


def test_cocob_does_not_see_the_scale_of_the_gradients(device: str) -> None:
    plain = path(lambda p: gn.COCOB(p, eps=0), noise(40), device)
    for scale in (2.0**-60, 2.0**60):  # powers of two: not a bit may differ
        scaled = path(lambda p: gn.COCOB(p, eps=0), noise(40) * scale, device)
        assert scaled.tobytes() == plain.tobytes()


def test_cocob_bets_from_the_first_weights(device: str) -> None:
    """The widespread mistake adds the bets up: w += bet. It is another path from step 2 on."""
    g = noise(20, width=1)[:, 0]
    L = G = reward = theta = bets = 0.0
    w, right, wrong = 0.5, [], []
    for x in g:
        c = -x
        L, G = max(L, abs(c)), G + abs(c)
        reward, theta = max(reward + (w - 0.5) * c, 0), theta + c
        bet = theta / (L * max(G + L, 100 * L)) * (L + reward)
        w, bets = 0.5 + bet, bets + bet
        right.append(w)
        wrong.append(0.5 + bets)
    found = path(lambda p: gn.COCOB(p, eps=0), g, device, start=0.5)[:, 0]
    np.testing.assert_allclose(found, right, rtol=1e-14)
    assert abs(found[1:] - wrong[1:]).min() > 1e-4


def test_cocob_leaves_a_weight_without_gradient_alone(device: str) -> None:
    found = path(lambda p: gn.COCOB(p, eps=0), np.zeros((3, 2)), device, start=1.5)
    assert found.tolist() == [[1.5, 1.5]] * 3


def test_cocob_denominator_holds_rounding_noise_back(device: str) -> None:
    """theta (L + reward) / (L max(G + L, alpha L) + eps): the source notes' 1e-6."""
    found = path(lambda p: gn.COCOB(p, eps=0, eps_denominator=1e-6), [[1.0, 1e-8]], device)
    expected = [-1 / (100 + 1e-6), -1e-16 / (1e-14 + 1e-6)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-14)


# RProp


def test_rprop_grows_rests_and_turns(device: str) -> None:
    found = path(lambda p: gn.RProp(p, lr=0.1), [1, 1, -1, -1], device)[:, 0]
    np.testing.assert_allclose(found, [-0.1, -0.22, -0.22, -0.16], rtol=1e-14)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_rprop_sees_signs_only(size: float, device: str) -> None:
    g = np.array([1, 1, -1, -1, 1, 0, 1])
    plain = path(lambda p: gn.RProp(p, lr=0.1), g, device, dtype=np.float32)
    scaled = path(lambda p: gn.RProp(p, lr=0.1), g * size, device, dtype=np.float32)
    assert scaled.tobytes() == plain.tobytes()


def test_rprop_stays_within_its_step_sizes(device: str) -> None:
    found = path(
        lambda p: gn.RProp(p, lr=0.1, step_sizes=(0.05, 0.15)), [1, 1, 1, -1, 1, -1], device
    )
    np.testing.assert_allclose(np.diff(found[:3, 0]), [-0.12, -0.144], rtol=1e-13)
    lone = path(lambda p: gn.RProp(p, lr=0.1, step_sizes=(0.08, 0.11)), [1, 1, -1, -1], device)
    np.testing.assert_allclose(lone[:, 0], [-0.1, -0.21, -0.21, -0.13], rtol=1e-13)


# The Adam family


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adamw_without_decay_is_adam_bit_for_bit(dtype: Any, device: str) -> None:
    g = noise(30)
    adam = path(gn.Adam, g, device, 0.3, dtype)
    adamw = path(lambda p: gn.AdamW(p, weight_decay=0.0), g, device, 0.3, dtype)
    assert adamw.tobytes() == adam.tobytes()


def test_adams_first_step_is_lr_whatever_the_gradient(device: str) -> None:
    """In float32 too: 1 - beta2^t must belong to the rounded beta2 (0.99900001), or this step is
    6.5e-6 too short."""
    found = path(lambda p: gn.Adam(p, lr=0.5), [[1.0, -300.0]], device, dtype=np.float32)
    np.testing.assert_allclose(found, [[-0.5, 0.5]], rtol=3e-7)


def test_eps_hat_is_the_books_form(device: str) -> None:
    """lr_t = lr sqrt(1 - b2^t) / (1 - b1^t); param -= lr_t m / (sqrt(v) + eps_hat)."""
    g, b1, b2 = noise(20), 0.9, 0.999
    found = path(lambda p: gn.Adam(p, lr=0.01, eps_hat=1e-3), g, device)
    m = v = w = 0.0
    for t, x in enumerate(g, 1):
        m, v = b1 * m + (1 - b1) * x, b2 * v + (1 - b2) * x**2
        w = w - 0.01 * math.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + 1e-3)
        np.testing.assert_allclose(found[t - 1], w, rtol=1e-12)
    as_eps = path(lambda p: gn.Adam(p, lr=0.01, eps=1e-3, eps_hat=True), g, device)
    assert as_eps.tobytes() == found.tobytes()


def test_eps_hat_equals_eps_at_the_first_step_up_to_its_root(device: str) -> None:
    eps = 1e-3 / math.sqrt(1 - 0.999)
    hat = path(lambda p: gn.Adam(p, eps_hat=1e-3), noise(1), device)
    plain = path(lambda p: gn.Adam(p, eps=eps), noise(1), device)
    np.testing.assert_allclose(hat, plain, rtol=1e-14)


# AdaGrad and RMSProp


def test_adagrad_eps_inside_the_root(device: str) -> None:
    found = path(lambda p: gn.AdaGrad(p, lr=1.0, eps=9.0, eps_inside=True), [4.0], device)
    assert found.tolist() == [[pytest.approx(-4 / 5)]]
    found = path(lambda p: gn.AdaGrad(p, lr=1.0, eps=4.0), [4.0], device)
    assert found.tolist() == [[pytest.approx(-4 / 8)]]
    found = path(lambda p: gn.AdaGrad(p, lr=1.0, eps=0, initial_accumulator=9.0), [4.0], device)
    assert found.tolist() == [[pytest.approx(-4 / 5)]]


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7e5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rmsprop_centered_on_a_constant_gradient(value: float, dtype: Any, device: str) -> None:
    """The variance is 0 in the end; E[g^2] - E[g]^2 would fall below 0 by rounding: nan."""
    g = np.full((3000, 1), value)
    found = path(lambda p: gn.RMSProp(p, rho=0.9, centered=True), g, device, dtype=dtype)
    assert np.isfinite(found).all()


# Gradients that overflow or underflow when squared


@pytest.mark.parametrize("size", [0.0, 1e-25, 1e25])
@pytest.mark.parametrize("name", gn.OPTIMIZERS)
def test_extreme_gradients_never_make_nan(name: str, size: float, device: str) -> None:
    g = np.array([[1, -1], [1, 1], [-1, 0], [0, 1]] * 3) * size
    found = path(gn.OPTIMIZERS[name], g, device, 0.5, np.float32)
    assert np.isfinite(found).all()
    if size == 0 and name not in ("adamw", "lion"):  # these two decay by default
        assert (found == 0.5).all()


@pytest.mark.parametrize("kind", [gn.RProp, gn.AdaMax, gn.Lion, gn.COCOB])
def test_scale_free_optimizers_move_at_tiny_gradients(kind: Any, device: str) -> None:
    settings = {"eps": 0.0} if kind in (gn.AdaMax, gn.COCOB) else {}
    found = path(lambda p: kind(p, **settings), [[1e-25, -1e-25]], device, dtype=np.float32)
    assert (np.abs(found) > 5e-5).all()

"""What is changed between a forward pass and its backward: told, or of no effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import functional as F
from gpunet.backend import to_host

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 4)), RNG.standard_normal((9, 1))


def trained(xp: Any) -> tuple[gn.MLP, gn.Optimizer, Any, Any]:
    gn.seed(0)
    model = gn.MLP([4, 8, 1], batch_norm=True, dtype=np.float64)
    model.to("cpu" if xp is np else "cuda")
    return model, gn.Adam(model.parameters(), lr=0.5), xp.array(X), xp.array(Y)


CHANGES: dict[str, Callable[[gn.MLP, gn.Optimizer], Any]] = {
    "step": lambda model, opt: opt.step(),
    "data": lambda model, opt: setattr(model[-1].W, "data", model[-1].W.data * 2),
    "load_state_dict": lambda model, opt: model.load_state_dict(model.state_dict()),
    "touch": lambda model, opt: model[-1].W.touch(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_parameter_that_changed_is_named(change: str, xp: Any) -> None:
    model, opt, x, y = trained(xp)
    loss = gn.MeanSquaredError()(model(x), y)
    CHANGES[change](model, opt)
    with pytest.raises(RuntimeError, match=r"input 1 of 'affine', a parameter of shape \(8, 1\)"):
        loss.backward()
    assert all(not to_host(p.grad).any() for p in model.parameters())
    gn.MeanSquaredError()(model(x), y).backward()
    assert to_host(model[0].W.grad).any()


def test_two_losses_of_one_model(xp: Any) -> None:
    model, opt, x, y = trained(xp)
    first, second = (gn.MeanSquaredError()(model(x), target) for target in (y, -y))
    first.backward()
    second.backward()  # before the update: both gradients are right
    opt.step()
    third = gn.MeanSquaredError()(model(x), y)
    opt.zero_grad()
    third.backward()


def test_a_step_of_another_model_changes_nothing(xp: Any) -> None:
    model, _, x, y = trained(xp)
    _, opt, *_ = trained(xp)
    loss = gn.MeanSquaredError()(model(x), y)
    opt.step()
    loss.backward()
    assert to_host(model[0].W.grad).any()


def test_a_fused_step_in_between_is_told_too(xp: Any) -> None:
    gn.seed(0)
    model = gn.MLP([4, 8, 3]).to("cpu" if xp is np else "cuda")
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()))
    x, t = xp.asarray(X.astype("f4")), xp.asarray(np.arange(9) % 3)
    loss = step.loss(model(x), t)
    step(x, t)
    with pytest.raises(RuntimeError, match="run the forward pass again"):
        loss.backward()


def test_a_captured_step_in_between_is_told_too(cp: Any) -> None:
    gn.seed(0)
    model = gn.MLP([4, 8, 3]).to("cuda")
    step = gn.capture(gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters())))
    x, t = cp.asarray(X.astype("f4")), cp.asarray(np.arange(9) % 3)
    for _ in range(4):
        step(x, t)
    loss = gn.SoftmaxWithLoss()(model(x), t)
    step(x, t)
    with pytest.raises(RuntimeError, match="run the forward pass again"):
        loss.backward()


# What the caller gave, and fills anew


def gradients(xp: Any, refill: bool) -> list[Any]:
    model, _, x, y = trained(xp)
    loss = gn.MeanSquaredError()(model(x), y)
    if refill:
        x[...], y[...] = 7, 7
    loss.backward()
    return [to_host(p.grad) for p in model.parameters()]


def test_a_batch_that_is_filled_anew(xp: Any) -> None:
    for found, right in zip(gradients(xp, True), gradients(xp, False), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    "op",
    [
        lambda x, w: x * w,
        lambda x, w: x / w,
        lambda x, w: w**x,
        lambda x, w: x @ w,
        lambda x, w: F.affine(x, w),
        lambda x, w: F.batch_norm(x, w[0], w[0]),
        lambda x, w: gn.softmax_cross_entropy(w, F.softmax(x)),
        lambda x, w: gn.sigmoid_cross_entropy(w, F.sigmoid(x)),
        lambda x, w: gn.kl_divergence(w, F.softmax(x)),
        lambda x, w: gn.mean_squared_error(w, x),
    ],
)
@pytest.mark.parametrize("wrap", [gn.Tensor, lambda array: array])
def test_every_op_has_its_own_copy(op: Any, wrap: Any, xp: Any) -> None:
    found = []
    for refill in (False, True):
        x, w = xp.array(np.abs(X[:4])), gn.Tensor(xp.array(np.abs(X[4:8])), requires_grad=True)
        y = op(wrap(x), w).sum()
        if refill:
            x[...] = w.data[...] = 2
        y.backward()
        found.append(to_host(w.grad))
    np.testing.assert_array_equal(*found)


def test_a_frozen_parameter_too(xp: Any) -> None:
    model, _, x, _ = trained(xp)
    leaf = gn.Tensor(x, requires_grad=True)
    for p in model.parameters():
        p.requires_grad = False
    model.eval()
    found = []
    for value in (None, 0):
        y = model(leaf).sum()
        if value is not None:
            model[-1].W.data = xp.zeros_like(model[-1].W.data)
        leaf.grad = None
        y.backward()
        found.append(to_host(leaf.grad))
    np.testing.assert_array_equal(*found)


def test_nothing_is_copied_that_is_not_recorded(xp: Any) -> None:
    seen = []

    @gn.op
    def look(x: Any, w: Any) -> Any:
        seen.append(x)
        return x * w, lambda g: (None, g * x)

    x, w = xp.asarray(X), gn.Tensor(xp.asarray(X), requires_grad=True)
    with gn.no_grad():
        look(x, w)
    look(x, gn.Tensor(w.data))
    assert all(array is x for array in seen)
    look(x, w)
    assert seen[-1] is not x

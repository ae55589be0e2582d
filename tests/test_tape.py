"""gpunet.tape: what backward visits, what it keeps, what it lets go, and what it refuses."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import context
from gpunet.backend import to_host


def leaf(xp: Any, values: Any = (1.0, 2.0, 3.0), dtype: Any = np.float64) -> gn.Tensor:
    return gn.Tensor(xp.asarray(np.array(values, dtype)), requires_grad=True)


def check(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(to_host(found), wanted, rtol=1e-14)


# --- going back -----------------------------------------------------------------------------------


def test_a_diamond_is_passed_once(xp: Any) -> None:
    """Both ways of y reach x before x passes on: micrograd's second backward got this wrong."""
    x = leaf(xp)
    y = x * 2
    (y * y + y).sum().backward()
    check(x.grad, [2 * (2 * 2 * v + 1) for v in (1.0, 2.0, 3.0)])


def test_later_contributions_add(xp: Any) -> None:
    x = leaf(xp)
    y = x * 1
    (y + y + y * 3 + y).sum().backward()
    check(x.grad, [6.0, 6.0, 6.0])


def test_grads_accumulate_over_two_backwards(xp: Any) -> None:
    x = leaf(xp)
    (x * x).sum().backward()
    (x * 5).sum().backward()
    check(x.grad, [7.0, 9.0, 11.0])


def test_depth_has_no_limit(xp: Any) -> None:
    x = leaf(xp, 2.0)
    y = x
    for _ in range(50_000):
        y = -y
    y.backward()
    check(x.grad, 1.0)
    del y


def test_a_deep_graph_that_is_never_used_is_freed() -> None:
    """Freed by reference count, link by link: the interpreter's stack must bear that too."""
    y = leaf(np, 2.0) * 1
    first = weakref.ref(y.data)
    for _ in range(50_000):
        y = y * 1
    assert first() is not None
    del y
    assert first() is None


def test_leaf_backward(xp: Any) -> None:
    x = leaf(xp)
    x.backward(xp.asarray(np.array([1.0, 0.0, 2.0])))
    check(x.grad, [1.0, 0.0, 2.0])


def test_a_branch_that_needs_no_gradient_is_not_computed(xp: Any) -> None:
    called = []

    @gn.op
    def product(a: Any, b: Any) -> Any:
        def backward(g: Any) -> Any:
            return lambda: called.append("a") or g * b, lambda: called.append("b") or g * a

        return a * b, backward

    x, constant = leaf(xp), gn.Tensor(xp.asarray(np.ones(3)))
    product(x, constant).sum().backward()
    assert called == ["a"]
    assert constant.grad is None


def test_a_second_backward_is_refused(xp: Any) -> None:
    x = leaf(xp)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="went through this graph already"):
        y.backward()
    check(x.grad, [2.0, 4.0, 6.0])


def test_nothing_to_differentiate(xp: Any) -> None:
    constant = gn.Tensor(xp.asarray(np.ones(1)))
    with pytest.raises(RuntimeError, match="nothing to differentiate"):
        (constant * 2).backward()
    with gn.no_grad():
        y = leaf(xp).sum()
        with pytest.raises(RuntimeError, match="inside no_grad nothing is recorded"):
            y.backward()


# --- whose memory ---------------------------------------------------------------------------------


def test_no_two_gradients_share_memory(xp: Any) -> None:
    """y = a + b hands one array to both; DeZero's in-place hook then changed both."""
    a, b = leaf(xp), leaf(xp)
    upstream = xp.asarray(np.array([1.0, 2.0, 3.0]))
    y = a + b
    y.retain_grad()
    y.backward(upstream)
    a.grad[...] = 7.0
    check(b.grad, [1.0, 2.0, 3.0])
    check(y.grad, [1.0, 2.0, 3.0])
    check(upstream, [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "view", [lambda x: x.sum(), lambda x: x.reshape(2, 3).T.sum(), lambda x: x[::-1].sum()]
)
def test_a_leafs_gradient_can_be_written(xp: Any, view: Any) -> None:
    """The gradient of a sum is a broadcast view, which NumPy makes read-only."""
    x = leaf(xp, np.arange(6.0))
    view(x).backward()
    x.grad[...] += 1
    check(x.grad, np.full(6, 2.0))


def test_an_upstream_gradient_is_not_kept(xp: Any) -> None:
    x = leaf(xp)
    upstream = xp.asarray(np.ones(3))
    (x + 0).backward(upstream)
    upstream[...] = 9.0
    check(x.grad, np.ones(3))


def test_interior_tensors_keep_no_gradient(xp: Any) -> None:
    x = leaf(xp)
    y = x * 2
    z = (y * y).sum()
    z.backward()
    assert y.grad is None
    assert z.grad is None


def test_retain_grad(xp: Any) -> None:
    x = leaf(xp)
    y = (x * 2).retain_grad()
    total = (y * y).sum().retain_grad()
    total.backward()
    check(y.grad, [4.0, 8.0, 12.0])
    assert isinstance(total.grad, xp.ndarray)
    assert x.retain_grad() is x
    y.grad = None
    assert y.grad is None


def test_arrays_are_let_go_as_backward_passes() -> None:
    alive: list[int] = []
    saved: list[weakref.ref[Any]] = []

    @gn.op
    def keep(x: Any) -> Any:
        y = x + 1
        saved.append(weakref.ref(y))

        def backward(g: Any) -> Any:
            alive.append(sum(r() is not None for r in saved))
            return g + 0 * y

        return y, backward

    x = leaf(np)
    y = keep(keep(keep(x))).sum()
    y.backward()
    assert alive == [3, 2, 1]
    assert all(r() is None for r in saved)


def test_no_reference_cycles() -> None:
    """With the collector off everything still goes with the last reference."""
    gc.collect()
    gc.disable()
    try:
        model = gn.MLP([4, 5, 3], batch_norm=True, dropout=0.5)
        x = gn.Tensor(np.ones((6, 4), np.float32), requires_grad=True)
        hidden = model[2](model[1](model[0](x)))
        inner = weakref.ref(hidden.data)
        loss = gn.softmax_cross_entropy(model[4](hidden), np.zeros(6, int))
        del hidden
        assert inner() is not None
        loss.backward()
        assert inner() is None
        unused = (x * 3).data
        dead = weakref.ref(unused)
        del unused
        assert dead() is None
        del loss, model, x
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- no_grad --------------------------------------------------------------------------------------


def test_no_grad(xp: Any) -> None:
    x = leaf(xp)
    with gn.no_grad():
        assert not context.current().recording
        y = x * 2
        with gn.no_grad():
            pass
        assert not context.current().recording
    assert context.current().recording
    assert not y.requires_grad
    assert y.is_leaf
    assert (x * 2).requires_grad


def test_no_grad_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), gn.no_grad():
        _ = 1 / 0
    assert context.current().recording


def test_no_grad_is_per_thread() -> None:
    x = leaf(np)
    inside, done = threading.Event(), threading.Event()
    seen: list[bool] = []

    def other() -> None:
        inside.wait(10)
        seen.append((x * 2).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with gn.no_grad():
        inside.set()
        assert done.wait(10)
        assert not (x * 2).requires_grad
    thread.join()
    assert seen == [True]


def test_many_threads_build_and_use_graphs_of_their_own() -> None:
    def work(k: int) -> None:
        for _ in range(50):
            x = leaf(np, np.full(8, float(k)))
            y = x
            for _ in range(10):
                y = y + x * x
            y.sum().backward()
            right[k] &= bool(np.array_equal(x.grad, np.full(8, 1 + 20.0 * k)))

    right = [True] * 6
    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6


# --- what an op of one's own may get wrong --------------------------------------------------------


def bad(gradients: Any) -> gn.Op:
    @gn.op
    def mine(a: Any, b: Any) -> Any:
        return a * b, lambda g: gradients(g)

    return mine


def answers() -> Iterator[Any]:
    ok = lambda g: g  # noqa: E731
    yield pytest.param(lambda g: (g[:2], g), ValueError, r"'mine'.*\(2,\).*\(3,\)", id="shape")
    yield pytest.param(lambda g: (ok(g), g.sum()), ValueError, r"\(\).*\(3,\)", id="scalar")
    yield pytest.param(lambda g: g, RuntimeError, "1 gradient.* 2 inputs", id="too few")
    yield pytest.param(lambda g: (g, g, g), RuntimeError, "3 gradient.* 2 inputs", id="too many")
    yield pytest.param(lambda g: (g, 1.0), TypeError, "'mine'.*float", id="number")
    yield pytest.param(lambda g: (g, gn.Tensor(g)), TypeError, "'mine'.*Tensor", id="Tensor")
    yield pytest.param(lambda g: (g, "no"), TypeError, "'mine'.*str", id="word")


@pytest.mark.parametrize(("gradients", "error", "message"), list(answers()))
def test_wrong_gradients_of_an_op(xp: Any, gradients: Any, error: Any, message: str) -> None:
    a, b = leaf(xp), leaf(xp)
    y = bad(gradients)(a, b)
    with pytest.raises(error, match=message):
        y.backward(xp.asarray(np.ones(3)))


def test_gradients_may_be_a_list_or_none(xp: Any) -> None:
    a, b = leaf(xp), leaf(xp)
    bad(lambda g: [g, None])(a, b).sum().backward()
    check(a.grad, np.ones(3))
    assert b.grad is None


def test_a_gradient_comes_in_its_tensors_dtype(xp: Any) -> None:
    """A float64 op behind a float32 one: a kernel takes one dtype for gradient and output."""
    x = leaf(xp, dtype=np.float32)
    y = gn.functional.sigmoid(x).retain_grad()
    (y * xp.asarray(np.ones(3))).sum().backward()
    assert y.dtype == y.grad.dtype == x.grad.dtype == np.float32


def test_a_gradient_of_another_device_is_refused(cp: Any) -> None:
    y = bad(lambda g: (g, to_host(g)))(leaf(cp), leaf(cp))
    with pytest.raises(gn.DeviceError, match=r"'mine' returned a gradient on cpu for one on cuda"):
        y.backward(cp.asarray(np.ones(3)))

"""gpunet.arithmetic: sums, products and the like, their gradients, shapes, dtypes and indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.study.gradcheck import gradcheck
from tests.networks import leaf, near

Function = Callable[..., gn.Tensor]


def numbers(xp: Any, *shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).uniform(low, high, shape))


# --- arithmetic with two operands -----------------------------------------------------------------

BINARY: dict[str, Function] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}
SHAPES = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((1, 1), (2, 3)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((2, 1, 3), (4, 1)),
    ((0, 3), (3,)),
]


@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_binary_with_broadcasting(xp: Any, sign: str, shapes: Any) -> None:
    a = numbers(xp, *shapes[0], low=0.5, high=2.0, seed=1)
    b = numbers(xp, *shapes[1], low=0.5, high=2.0, seed=2)
    function = BINARY[sign]
    near(function(gn.Tensor(a), gn.Tensor(b)), function(to_host(a), to_host(b)))
    assert gradcheck(function, [a, b])


@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("number", [3, 1.5])
def test_python_numbers_on_both_sides_keep_float32(xp: Any, sign: str, number: float) -> None:
    function = BINARY[sign]
    x = numbers(xp, 2, 3, low=0.5, high=2.0)
    for one_sided in (lambda t: function(t, number), lambda t: function(number, t)):
        near(one_sided(gn.Tensor(x)), one_sided(to_host(x)))
        assert gradcheck(one_sided, [x])
        single = gn.Tensor(x.astype(np.float32), requires_grad=True)
        y = one_sided(single).retain_grad()
        y.sum().backward()
        assert y.dtype == y.grad.dtype == single.grad.dtype == np.float32


@pytest.mark.parametrize("sign", BINARY)
def test_arrays_on_the_left(xp: Any, sign: str) -> None:
    function = BINARY[sign]
    array, x = numbers(xp, 2, 3, low=0.5), numbers(xp, 3, low=0.5, seed=1)
    y = function(array, gn.Tensor(x))
    assert isinstance(y, gn.Tensor)
    near(y, function(to_host(array), to_host(x)))
    assert gradcheck(lambda t: function(array, t), [x])


@pytest.mark.parametrize("sign", BINARY)
def test_numpy_scalars_work_on_every_device(xp: Any, sign: str) -> None:
    """A NumPy scalar is a number, not an array of the CPU: `x * np.sqrt(2)`."""
    function, x, number = BINARY[sign], numbers(xp, 3, low=0.5), np.float64(1.5)
    near(function(gn.Tensor(x), number), function(to_host(x), 1.5))
    near(function(number, gn.Tensor(x)), function(1.5, to_host(x)))
    y = function(gn.Tensor(x.astype(np.float32)), np.float32(1.5))
    assert y.dtype == np.float32


def test_hand_values_of_binary_gradients(xp: Any) -> None:
    def gradients(function: Function) -> tuple[float, float]:
        a, b = leaf(xp, 3.0), leaf(xp, 2.0)
        function(a, b).backward()
        return float(to_host(a.grad)), float(to_host(b.grad))

    assert gradients(BINARY["+"]) == (1.0, 1.0)
    assert gradients(BINARY["-"]) == (1.0, -1.0)
    assert gradients(BINARY["*"]) == (2.0, 3.0)
    assert gradients(BINARY["/"]) == (0.5, -0.75)
    assert gradients(BINARY["**"]) == pytest.approx((6.0, 9 * np.log(3)))


def test_broadcast_gradients_by_hand(xp: Any) -> None:
    a, b = leaf(xp, np.ones((2, 3))), leaf(xp, [1.0, 2.0, 3.0])
    (a * b).sum().backward()
    near(a.grad, [[1.0, 2.0, 3.0]] * 2)
    near(b.grad, [2.0, 2.0, 2.0])


def test_power_at_the_edges(xp: Any) -> None:
    """x**0 is flat, also at 0; 0**b is flat in b > 0."""
    x = leaf(xp, [0.0, 2.0])
    (x**0).sum().backward()
    near(x.grad, [0.0, 0.0])
    x = leaf(xp, [0.0, -2.0])
    (x**2).sum().backward()
    near(x.grad, [0.0, -4.0])
    base, exponent = leaf(xp, [0.0, 2.0]), leaf(xp, [2.0, 3.0])
    (base**exponent).sum().backward()
    near(exponent.grad, [0.0, 8 * np.log(2)])
    near(base.grad, [0.0, 12.0])


def test_in_place_operators_make_new_tensors(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    y = x
    y += 1
    y *= 2
    y.sum().backward()
    near(y, [4.0, 6.0])
    near(x, [1.0, 2.0])
    near(x.grad, [2.0, 2.0])


def test_shapes_that_do_not_broadcast_are_both_named(xp: Any) -> None:
    for function in BINARY.values():
        with pytest.raises(ValueError, match=r"\(2, ?3\).*\(2,\)"):
            function(leaf(xp, np.ones((2, 3))), leaf(xp, np.ones(2)))


# --- matmul ---------------------------------------------------------------------------------------

MATMUL = [
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 1, 2, 3), (2, 3, 4)),
]


@pytest.mark.parametrize("shapes", MATMUL, ids=str)
def test_matmul(xp: Any, shapes: Any) -> None:
    a, b = numbers(xp, *shapes[0]), numbers(xp, *shapes[1], seed=1)
    near(gn.Tensor(a) @ gn.Tensor(b), to_host(a) @ to_host(b), rtol=1e-13)
    near(a @ gn.Tensor(b), to_host(a) @ to_host(b), rtol=1e-13)
    assert gradcheck(lambda s, t: s @ t, [a, b])


def test_matmul_gradients_by_hand(xp: Any) -> None:
    a, b = leaf(xp, [[1.0, 2.0]]), leaf(xp, [[3.0], [4.0]])
    (a @ b).sum().backward()
    near(a.grad, [[3.0, 4.0]])
    near(b.grad, [[1.0], [2.0]])


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((3,), (2,)), ((2, 3), ()), ((2, 4, 3), (3, 3, 5))], ids=str
)
def test_matmul_shapes_that_do_not_fit_are_both_named(xp: Any, shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"matmul: shapes .* do not fit") as caught:
        leaf(xp, np.ones(shapes[0])) @ leaf(xp, np.ones(shapes[1]))
    assert str(shapes[0]) in str(caught.value)
    assert str(shapes[1]) in str(caught.value)


def test_matmul_with_a_number(xp: Any) -> None:
    with pytest.raises(TypeError, match="matmul"):
        leaf(xp, np.ones((2, 3))) @ 2.0


# --- one operand ----------------------------------------------------------------------------------

UNARY: dict[str, tuple[Function, Callable[[Any], Any]]] = {
    "neg": (lambda x: -x, np.negative),
    "exp": (lambda x: x.exp(), np.exp),
    "log": (lambda x: x.log(), np.log),
    "sqrt": (lambda x: x.sqrt(), np.sqrt),
    "abs": (lambda x: x.abs(), np.abs),
    "builtin abs": (abs, np.abs),
}


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3)], ids=str)
def test_unary(xp: Any, name: str, shape: tuple[int, ...]) -> None:
    ours, numpys = UNARY[name]
    low = 0.3 if name in ("log", "sqrt") else -2.0
    x = numbers(xp, *shape, low=low)
    near(ours(gn.Tensor(x)), numpys(to_host(x)))
    assert ours(gn.Tensor(x.astype(np.float32))).dtype == np.float32
    assert gradcheck(ours, [x])


def test_abs_has_gradient_0_at_0(xp: Any) -> None:
    x = leaf(xp, [-3.0, -0.0, 0.0, 3.0])
    (abs(x) * 2).sum().backward()
    near(x.grad, [-2.0, 0.0, 0.0, 2.0])


AXES: list[Any] = [None, 0, 1, -1, (0, 2), (-1, 0), (), (0, 1, 2)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions(xp: Any, name: str, axis: Any, keepdims: bool) -> None:
    x = numbers(xp, 2, 3, 4)

    def reduce(t: Any) -> Any:
        return getattr(t, name)(axis=axis, keepdims=keepdims)

    near(reduce(gn.Tensor(x)), reduce(to_host(x)))
    assert reduce(gn.Tensor(x.astype(np.float32))).dtype == np.float32
    assert gradcheck(reduce, [x])


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_of_a_single_number(xp: Any, name: str) -> None:
    x = leaf(xp, 3.0)
    y = getattr(x, name)()
    y.backward()
    near(y, 3.0)
    near(x.grad, 1.0)


def test_max_shares_its_gradient_between_equals(xp: Any) -> None:
    x = leaf(xp, [[1.0, 5.0, 5.0], [7.0, 7.0, 7.0]])
    (x.max(axis=1) * xp.asarray(np.array([6.0, 9.0]))).sum().backward()
    near(x.grad, [[0.0, 3.0, 3.0], [3.0, 3.0, 3.0]])


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_an_axis_that_is_not_there(xp: Any, name: str) -> None:
    with pytest.raises(ValueError, match="axis 2"):
        getattr(leaf(xp, np.ones((2, 3))), name)(axis=2)


def test_reshape(xp: Any) -> None:
    x = numbers(xp, 2, 6)
    for shape in [(3, 4), (-1,), (2, 1, 6), (12,)]:
        near(gn.Tensor(x).reshape(*shape), to_host(x).reshape(shape))
        near(gn.Tensor(x).reshape(shape), to_host(x).reshape(shape))
        assert gradcheck(lambda t, shape=shape: t.reshape(shape), [x])
    assert gn.Tensor(x[:1, :1]).reshape().shape == ()
    with pytest.raises(ValueError, match="reshape"):
        gn.Tensor(x).reshape(5)


def test_transpose(xp: Any) -> None:
    x = numbers(xp, 2, 3, 4)
    for axes in [(), (1, 0, 2), (2, 0, 1), (-1, 0, 1)]:
        near(gn.Tensor(x).transpose(*axes), to_host(x).transpose(*axes))
        assert gradcheck(lambda t, axes=axes: t.transpose(*axes), [x])
    near(gn.Tensor(x).transpose((1, 0, 2)), to_host(x).transpose(1, 0, 2))
    near(gn.Tensor(x).transpose(*np.array([1, 0, 2])), to_host(x).transpose(1, 0, 2))
    near(gn.Tensor(x).T, to_host(x).T)
    near(gn.Tensor(x[0, 0, 0]).T, to_host(x)[0, 0, 0])
    with pytest.raises(ValueError, match="axes"):
        gn.Tensor(x).transpose(0, 1)


# --- indexing -------------------------------------------------------------------------------------

INDEXES: dict[str, Any] = {
    "int": 1,
    "negative": -1,
    "NumPy int": np.int64(2),
    "slice": slice(1, 3),
    "backwards": slice(None, None, -2),
    "empty": slice(2, 2),
    "new axis": (None, 1),
    "ellipsis": (..., 0),
    "two": (2, 1),
    "mixed": (slice(None), -1),
}
ARRAY_INDEXES: dict[str, Any] = {
    "array": np.array([0, 2]),
    "repeats": np.array([1, 1, 3, 1]),
    "matrix of repeats": np.array([[0, 0], [1, 0]]),
    "mask of rows": np.array([True, False, True, False]),
    "mask": np.arange(12).reshape(4, 3) % 3 == 0,
    "no row": np.zeros(4, bool),
    "pairs": (np.array([0, 1, 1]), np.array([2, 0, 0])),
    "rows and slice": (np.array([3, 3]), slice(0, 2)),
}


@pytest.mark.parametrize("name", INDEXES)
def test_basic_indexing(xp: Any, name: str) -> None:
    index, x = INDEXES[name], numbers(xp, 4, 3)
    near(gn.Tensor(x)[index], to_host(x)[index])
    assert gradcheck(lambda t: t[index], [x])


@pytest.mark.parametrize("name", ARRAY_INDEXES)
def test_indexing_by_arrays(xp: Any, name: str) -> None:
    host, x = ARRAY_INDEXES[name], numbers(xp, 4, 3)
    move = lambda part: xp.asarray(part) if isinstance(part, np.ndarray) else part  # noqa: E731
    index = tuple(map(move, host)) if isinstance(host, tuple) else move(host)
    near(gn.Tensor(x)[index], to_host(x)[host])
    assert gradcheck(lambda t: t[index], [x])


def test_indexing_by_lists_and_tensors(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0, 3.0])
    near(x[[0, 0, 2]], [1.0, 1.0, 3.0])
    x[gn.Tensor(xp.asarray(np.array([0, 0, 2])))].sum().backward()
    near(x.grad, [2.0, 0.0, 1.0])
    y = leaf(xp, np.eye(2))
    labels = gn.Tensor(xp.asarray(np.array([1, 1])))
    y[xp.asarray(np.arange(2)), labels].sum().backward()
    near(y.grad, [[0.0, 1.0], [0.0, 1.0]])


def test_repeats_add_up_by_hand(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    (x[xp.asarray(np.array([0, 0, 1]))] * xp.asarray(np.array([1.0, 10.0, 100.0]))).sum().backward()
    near(x.grad, [11.0, 100.0])


def test_an_index_out_of_range(xp: Any) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        leaf(xp, np.ones((2, 3)))[2]


def test_iteration_and_length(xp: Any) -> None:
    x = leaf(xp, [[1.0, 2.0], [3.0, 4.0]])
    rows = list(x)
    assert len(x) == len(rows) == 2
    rows[1].sum().backward()
    near(x.grad, [[0.0, 0.0], [1.0, 1.0]])
    with pytest.raises(TypeError, match="no length"):
        len(leaf(xp, 1.0))

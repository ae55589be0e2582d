"""gpunet.tensor: arithmetic and its gradients, the dtype rules, `@op`, and Tensor itself."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import tensor
from gpunet.backend import to_host
from gpunet.study.gradcheck import gradcheck

Function = Callable[..., gn.Tensor]


def numbers(xp: Any, *shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def leaf(xp: Any, values: Any, dtype: Any = np.float64) -> gn.Tensor:
    return gn.Tensor(xp.asarray(np.array(values, dtype)), requires_grad=True)


def check(found: Any, wanted: Any, rtol: float = 1e-14) -> None:
    found = to_host(found.data if isinstance(found, gn.Tensor) else found)
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-15)


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
    check(function(gn.Tensor(a), gn.Tensor(b)), function(to_host(a), to_host(b)))
    assert gradcheck(function, [a, b])


@pytest.mark.parametrize("sign", BINARY)
@pytest.mark.parametrize("number", [3, 1.5])
def test_python_numbers_on_both_sides_keep_float32(xp: Any, sign: str, number: float) -> None:
    function = BINARY[sign]
    x = numbers(xp, 2, 3, low=0.5, high=2.0)
    for one_sided in (lambda t: function(t, number), lambda t: function(number, t)):
        check(one_sided(gn.Tensor(x)), one_sided(to_host(x)))
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
    check(y, function(to_host(array), to_host(x)))
    assert gradcheck(lambda t: function(array, t), [x])


@pytest.mark.parametrize("sign", BINARY)
def test_numpy_scalars_work_on_every_device(xp: Any, sign: str) -> None:
    """A NumPy scalar is a number, not an array of the CPU: `x * np.sqrt(2)`."""
    function, x, number = BINARY[sign], numbers(xp, 3, low=0.5), np.float64(1.5)
    check(function(gn.Tensor(x), number), function(to_host(x), 1.5))
    check(function(number, gn.Tensor(x)), function(1.5, to_host(x)))
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
    check(a.grad, [[1.0, 2.0, 3.0]] * 2)
    check(b.grad, [2.0, 2.0, 2.0])


def test_power_at_the_edges(xp: Any) -> None:
    """x**0 is flat, also at 0; 0**b is flat in b > 0."""
    x = leaf(xp, [0.0, 2.0])
    (x**0).sum().backward()
    check(x.grad, [0.0, 0.0])
    x = leaf(xp, [0.0, -2.0])
    (x**2).sum().backward()
    check(x.grad, [0.0, -4.0])
    base, exponent = leaf(xp, [0.0, 2.0]), leaf(xp, [2.0, 3.0])
    (base**exponent).sum().backward()
    check(exponent.grad, [0.0, 8 * np.log(2)])
    check(base.grad, [0.0, 12.0])


def test_in_place_operators_make_new_tensors(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    y = x
    y += 1
    y *= 2
    y.sum().backward()
    check(y, [4.0, 6.0])
    check(x, [1.0, 2.0])
    check(x.grad, [2.0, 2.0])


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
    check(gn.Tensor(a) @ gn.Tensor(b), to_host(a) @ to_host(b), rtol=1e-13)
    check(a @ gn.Tensor(b), to_host(a) @ to_host(b), rtol=1e-13)
    assert gradcheck(lambda s, t: s @ t, [a, b])


def test_matmul_gradients_by_hand(xp: Any) -> None:
    a, b = leaf(xp, [[1.0, 2.0]]), leaf(xp, [[3.0], [4.0]])
    (a @ b).sum().backward()
    check(a.grad, [[3.0, 4.0]])
    check(b.grad, [[1.0], [2.0]])


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
    check(ours(gn.Tensor(x)), numpys(to_host(x)))
    assert ours(gn.Tensor(x.astype(np.float32))).dtype == np.float32
    assert gradcheck(ours, [x])


def test_abs_has_gradient_0_at_0(xp: Any) -> None:
    x = leaf(xp, [-3.0, -0.0, 0.0, 3.0])
    (abs(x) * 2).sum().backward()
    check(x.grad, [-2.0, 0.0, 0.0, 2.0])


AXES: list[Any] = [None, 0, 1, -1, (0, 2), (-1, 0), (), (0, 1, 2)]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions(xp: Any, name: str, axis: Any, keepdims: bool) -> None:
    x = numbers(xp, 2, 3, 4)

    def reduce(t: Any) -> Any:
        return getattr(t, name)(axis=axis, keepdims=keepdims)

    check(reduce(gn.Tensor(x)), reduce(to_host(x)))
    assert reduce(gn.Tensor(x.astype(np.float32))).dtype == np.float32
    assert gradcheck(reduce, [x])


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_of_a_single_number(xp: Any, name: str) -> None:
    x = leaf(xp, 3.0)
    y = getattr(x, name)()
    y.backward()
    check(y, 3.0)
    check(x.grad, 1.0)


def test_max_shares_its_gradient_between_equals(xp: Any) -> None:
    x = leaf(xp, [[1.0, 5.0, 5.0], [7.0, 7.0, 7.0]])
    (x.max(axis=1) * xp.asarray(np.array([6.0, 9.0]))).sum().backward()
    check(x.grad, [[0.0, 3.0, 3.0], [3.0, 3.0, 3.0]])


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_an_axis_that_is_not_there(xp: Any, name: str) -> None:
    with pytest.raises(ValueError, match="axis 2"):
        getattr(leaf(xp, np.ones((2, 3))), name)(axis=2)


def test_reshape(xp: Any) -> None:
    x = numbers(xp, 2, 6)
    for shape in [(3, 4), (-1,), (2, 1, 6), (12,)]:
        check(gn.Tensor(x).reshape(*shape), to_host(x).reshape(shape))
        check(gn.Tensor(x).reshape(shape), to_host(x).reshape(shape))
        assert gradcheck(lambda t, shape=shape: t.reshape(shape), [x])
    assert gn.Tensor(x[:1, :1]).reshape().shape == ()
    with pytest.raises(ValueError, match="reshape"):
        gn.Tensor(x).reshape(5)


def test_transpose(xp: Any) -> None:
    x = numbers(xp, 2, 3, 4)
    for axes in [(), (1, 0, 2), (2, 0, 1), (-1, 0, 1)]:
        check(gn.Tensor(x).transpose(*axes), to_host(x).transpose(*axes))
        assert gradcheck(lambda t, axes=axes: t.transpose(*axes), [x])
    check(gn.Tensor(x).transpose((1, 0, 2)), to_host(x).transpose(1, 0, 2))
    check(gn.Tensor(x).transpose(*np.array([1, 0, 2])), to_host(x).transpose(1, 0, 2))
    check(gn.Tensor(x).T, to_host(x).T)
    check(gn.Tensor(x[0, 0, 0]).T, to_host(x)[0, 0, 0])
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
    check(gn.Tensor(x)[index], to_host(x)[index])
    assert gradcheck(lambda t: t[index], [x])


@pytest.mark.parametrize("name", ARRAY_INDEXES)
def test_indexing_by_arrays(xp: Any, name: str) -> None:
    host, x = ARRAY_INDEXES[name], numbers(xp, 4, 3)
    move = lambda part: xp.asarray(part) if isinstance(part, np.ndarray) else part  # noqa: E731
    index = tuple(map(move, host)) if isinstance(host, tuple) else move(host)
    check(gn.Tensor(x)[index], to_host(x)[host])
    assert gradcheck(lambda t: t[index], [x])


def test_indexing_by_lists_and_tensors(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0, 3.0])
    check(x[[0, 0, 2]], [1.0, 1.0, 3.0])
    x[gn.Tensor(xp.asarray(np.array([0, 0, 2])))].sum().backward()
    check(x.grad, [2.0, 0.0, 1.0])
    y = leaf(xp, np.eye(2))
    labels = gn.Tensor(xp.asarray(np.array([1, 1])))
    y[xp.asarray(np.arange(2)), labels].sum().backward()
    check(y.grad, [[0.0, 1.0], [0.0, 1.0]])


def test_repeats_add_up_by_hand(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    (x[xp.asarray(np.array([0, 0, 1]))] * xp.asarray(np.array([1.0, 10.0, 100.0]))).sum().backward()
    check(x.grad, [11.0, 100.0])


def test_an_index_out_of_range(xp: Any) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        leaf(xp, np.ones((2, 3)))[2]


def test_iteration_and_length(xp: Any) -> None:
    x = leaf(xp, [[1.0, 2.0], [3.0, 4.0]])
    rows = list(x)
    assert len(x) == len(rows) == 2
    rows[1].sum().backward()
    check(x.grad, [[0.0, 0.0], [1.0, 1.0]])
    with pytest.raises(TypeError, match="no length"):
        len(leaf(xp, 1.0))


# --- Tensor itself --------------------------------------------------------------------------------


def test_what_a_tensor_holds(xp: Any, device: str) -> None:
    array = xp.asarray(np.ones((2, 3), np.float32))
    x = gn.Tensor(array)
    assert x.data is array
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float32, device)
    assert x.grad is None
    assert not x.requires_grad
    assert x.is_leaf
    assert gn.Tensor(x).data is array
    assert x.detach().data is array
    assert gn.Tensor([1, 2]).shape == (2,)
    assert gn.Tensor(np.float32(2)).shape == ()


def test_numpy_is_a_host_array(xp: Any) -> None:
    x = gn.Tensor(xp.asarray(np.arange(3.0)))
    assert type(x.numpy()) is np.ndarray
    np.testing.assert_array_equal(x.numpy(), [0.0, 1.0, 2.0])
    assert xp is not np or x.numpy() is x.data


def test_numpy_asarray_of_a_tensor() -> None:
    """Plotting and saving call it; without __array__ NumPy would take a Tensor apart by index."""
    x = gn.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert np.asarray(x) is x.data
    assert np.asarray(x, np.float32).dtype == np.float32
    assert np.asarray(gn.Tensor(2.5)).item() == 2.5
    copied = np.array(x)
    copied[...] = 9
    assert x.data[0, 0] == 0


def test_no_silent_copy_from_a_gpu(cp: Any) -> None:
    with pytest.raises(TypeError):
        np.asarray(gn.Tensor(cp.asarray(np.ones(3))))


def test_detach_cuts_the_tape(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    (x.detach() * x).sum().backward()
    check(x.grad, [1.0, 2.0])


def test_numbers_out_of_a_tensor(xp: Any) -> None:
    x = gn.Tensor(xp.asarray(np.array(2.5, np.float32)))
    assert x.item() == float(x) == 2.5
    assert bool(x)
    with pytest.raises(ValueError):  # noqa: PT011  NumPy's and CuPy's words differ
        gn.Tensor(xp.asarray(np.ones(2))).item()


def test_repr_is_for_people() -> None:
    x = leaf(np, [1.0, 2.0])
    assert repr(x) == "Tensor(array([1., 2.]), requires_grad=True)"
    assert repr(x * 2) == "Tensor(array([2., 4.]), made by multiply)"
    assert repr(tensor.exp) == "<op exp>"


@pytest.mark.parametrize(
    "value", [np.ones(2, complex), np.array(["a"]), None, np.array([object()])]
)
def test_a_tensor_holds_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match="a Tensor must hold numbers, got dtype"):
        gn.Tensor(value)


@pytest.mark.parametrize("dtype", [int, bool, np.uint8])
def test_gradients_need_floats(xp: Any, dtype: Any) -> None:
    with pytest.raises(TypeError, match=f"floating dtype, got {np.dtype(dtype)}"):
        gn.Tensor(xp.asarray(np.ones(2, dtype)), requires_grad=True)


def test_assigning_data_and_grad(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    x.data = xp.asarray(np.array([3.0, 4.0]))
    check(x, [3.0, 4.0])
    x.grad = xp.asarray(np.array([5.0, 6.0]))
    (x * 1).sum().backward()
    check(x.grad, [6.0, 7.0])
    x.grad = None
    assert x.grad is None
    with pytest.raises(ValueError, match=r"data must have shape \(2,\), got \(3,\)"):
        x.data = xp.asarray(np.ones(3))
    with pytest.raises(ValueError, match=r"grad must have shape \(2,\), got \(1, 2\)"):
        x.grad = xp.asarray(np.ones((1, 2)))


def test_assigned_gradients_are_not_written_into(xp: Any) -> None:
    mine = xp.asarray(np.array([5.0, 6.0]))
    x = leaf(xp, [1.0, 2.0])
    x.grad = mine
    (x * 1).sum().backward()
    check(mine, [5.0, 6.0])


@pytest.mark.parametrize("upstream", [np.ones(3), np.ones((1, 2)), 1.0], ids=["3", "1x2", "number"])
def test_an_upstream_gradient_of_another_shape(xp: Any, upstream: Any) -> None:
    upstream = xp.asarray(upstream) if isinstance(upstream, np.ndarray) else upstream
    x = leaf(xp, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"the upstream gradient must have shape \(2,\), got \("):
        (x * 2).backward(upstream)
    assert x.grad is None


def test_backward_of_many_elements_needs_an_upstream_gradient(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(2,\) needs an upstream gradient"):
        (x * 2).backward()
    y = leaf(xp, [[3.0]])
    (y * 2).backward()
    check(y.grad, [[2.0]])


@pytest.mark.parametrize("kind", ["list", "Tensor", "float32", "integer"])
def test_kinds_of_upstream_gradient(xp: Any, kind: str) -> None:
    values = np.array([1.0, 3.0])
    upstream: Any = {
        "list": [1.0, 3.0],
        "Tensor": gn.Tensor(xp.asarray(values)),
        "float32": xp.asarray(values.astype(np.float32)),
        "integer": xp.asarray(values.astype(int)),
    }[kind]
    x = leaf(xp, [1.0, 2.0])
    (x * 2).backward(upstream)
    check(x.grad, [2.0, 6.0])
    assert x.grad.dtype == np.float64


def test_copies_are_independent(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    twin = copy.deepcopy(x)
    twin.data[...] = 9
    (twin * 2).sum().backward()
    check(x, [1.0, 2.0])
    assert x.grad is None
    assert twin.requires_grad


def test_to(xp: Any, device: str) -> None:
    x = leaf(xp, [1.0, 2.0])
    assert x.to(device) is x
    y = x * 2
    assert y.to(device) is y
    there = gn.Tensor(np.ones(2), requires_grad=True).to(device)
    assert there.device == device
    assert there.requires_grad
    assert there.is_leaf
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        x.to("gpu")


def test_moving_an_interior_tensor_is_refused(cp: Any) -> None:
    """A move is not recorded; gradients would stop there without a word."""
    y = leaf(cp, [1.0, 2.0]) * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.to("cpu")
    assert y.detach().to("cpu").device == "cpu"


# --- ops ------------------------------------------------------------------------------------------


@gn.op
def scaled(x: Any, *, by: float = 1.0) -> Any:
    """x * by."""
    return x * by, lambda g: g * by


def test_an_op_of_ones_own(xp: Any) -> None:
    x = leaf(xp, [1.0, 2.0])
    y = scaled(x, by=3.0)
    y.sum().backward()
    check(y, [3.0, 6.0])
    check(x.grad, [3.0, 3.0])
    assert scaled.__doc__ == "x * by."
    values, backward = scaled.pair(x.data, by=3.0)
    assert not isinstance(values, gn.Tensor)
    check(backward(values), [9.0, 18.0])


def test_a_tensor_to_be_differentiated_is_positional(xp: Any) -> None:
    """As a keyword it would get no gradient, silently."""
    W = leaf(xp, np.ones((2, 3)))
    with pytest.raises(TypeError, match=r"affine.*'W'.*position"):
        gn.functional.affine(xp.asarray(np.ones((4, 2))), W=W)
    with gn.no_grad():
        assert gn.functional.affine(xp.asarray(np.ones((4, 2))), W=W).shape == (4, 3)


def test_lists_are_arrays(xp: Any) -> None:
    if xp is np:
        check(gn.functional.relu([-1.0, 2.0]), [0.0, 2.0])
        check(gn.Tensor(np.ones(2)) * [1.0, 2.0], [1.0, 2.0])
    else:
        with pytest.raises(gn.DeviceError, match="multiply got arrays of two devices"):
            gn.Tensor(xp.asarray(np.ones(2))) * [1.0, 2.0]


def test_arrays_of_two_devices(cp: Any) -> None:
    here, there = np.ones((2, 3)), gn.Tensor(cp.asarray(np.ones((4, 2))), requires_grad=True)
    message = r"got arrays of two devices: .*on (cpu|cuda).*on (cpu|cuda)"
    for function in (lambda: there @ here, lambda: here + there, lambda: there * here):
        with pytest.raises(gn.DeviceError, match=message):
            function()
    with pytest.raises(gn.DeviceError, match=message):
        there.backward(np.ones((4, 2)))
    with pytest.raises(gn.DeviceError, match=message):
        there.grad = np.ones((4, 2))
    with pytest.raises(gn.DeviceError, match=message):
        there[np.array([0, 1])]
    with pytest.raises(gn.DeviceError, match=message):
        there[:, np.array([0, 1])]
    assert there.grad is None


def test_arrays_of_two_devices_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    class Elsewhere:
        shape, ndim, dtype = (2, 3), 2, np.dtype(np.float32)

    cupy = types.ModuleType("cupy")
    cupy.__dict__["ndarray"] = Elsewhere
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    message = r"multiply got arrays of two devices: \(4,\) on cpu, \(2, 3\) on cuda"
    with pytest.raises(gn.DeviceError, match=message):
        gn.Tensor(np.ones(4)) * Elsewhere()


def test_the_one_number_takes_a_format(xp: Any) -> None:
    loss = gn.Tensor(xp.asarray(np.float32(0.5)))
    assert f"{loss:.3f}" == "0.500"
    assert f"{loss:>8.1%}" == "   50.0%"
    assert f"{loss}" == str(loss)
    with pytest.raises(ValueError, match="format code"):
        f"{loss:y}"

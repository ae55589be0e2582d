"""gpunet.study.gradcheck: it finds every wrong gradient (mutation tests), says where, and leaves
everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import activations, tensor
from gpunet import functional as F
from gpunet.arena import Arena
from gpunet.backend import to_host
from gpunet.study.gradcheck import ELEMENTWISE, GradcheckError, gradcheck


def numbers(xp: Any, *shape: int, seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).standard_normal(shape))


def failure(fn: Any, inputs: Any, **options: Any) -> str:
    with pytest.raises(GradcheckError) as caught:
        gradcheck(fn, inputs, **options)
    return str(caught.value)


# --- mutations ------------------------------------------------------------------------------------


def mutated(op: gn.Op, which: int, change: Callable[[Any], Any]) -> gn.Op:
    """The op with its gradient number `which` changed."""

    def pair(*arrays: Any, **options: Any) -> Any:
        y, backward = op.pair(*arrays, **options)

        def wrong(g: Any) -> Any:
            found = backward(g)
            found = found if isinstance(found, tuple) else (found,)
            gradients = [gx() if callable(gx) else gx for gx in found]
            gradients[which] = change(gradients[which])
            return tuple(gradients)

        return y, wrong

    pair.__name__ = f"mutated_{op.__name__}"
    return gn.Op(pair)


def perturb_one(g: Any) -> Any:
    """One element wrong by a thousandth, the smallest mistake that a typo makes."""
    g = g.copy()
    g.reshape(-1)[-1:] += 1e-3
    return g


CHANGES: dict[str, Callable[[Any], Any]] = {
    "zeroed": lambda g: 0 * g,
    "negated": lambda g: -g,
    "scaled": lambda g: 1.001 * g,
    "one element": perturb_one,
}


def positive(xp: Any, *shape: int, seed: int = 0) -> Any:
    return abs(numbers(xp, *shape, seed=seed)) + 0.5


def q(xp: Any) -> Any:
    return xp.asarray(np.array([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25], [0.1, 0.3, 0.6]]))


def evaluation(xp: Any) -> dict[str, Any]:
    return {"training": False, "running_mean": xp.ones(3), "running_var": xp.full(3, 0.5)}


# name: (op, differentiable inputs, constants behind them, options)
Case = tuple[gn.Op, list[Any], list[Any], dict[str, Any]]
CASES: dict[str, Callable[[Any], Case]] = {
    "add": lambda xp: (tensor.add, [numbers(xp, 2, 3), numbers(xp, 3)], [], {}),
    "subtract": lambda xp: (tensor.subtract, [numbers(xp, 2, 3), numbers(xp, 3)], [], {}),
    "multiply": lambda xp: (tensor.multiply, [numbers(xp, 2, 3), positive(xp, 3)], [], {}),
    "divide": lambda xp: (tensor.divide, [numbers(xp, 2, 3), positive(xp, 3)], [], {}),
    "power": lambda xp: (tensor.power, [positive(xp, 2, 3), positive(xp, 3)], [], {}),
    "negative": lambda xp: (tensor.negative, [numbers(xp, 2, 3)], [], {}),
    "matmul": lambda xp: (tensor.matmul, [numbers(xp, 2, 3), numbers(xp, 3, 2)], [], {}),
    "sum": lambda xp: (tensor.sum_, [numbers(xp, 2, 3)], [], {"axis": 0}),
    "mean": lambda xp: (tensor.mean, [numbers(xp, 2, 3)], [], {"axis": 1}),
    "max": lambda xp: (tensor.max_, [numbers(xp, 2, 3)], [], {"axis": 1}),
    "reshape": lambda xp: (tensor.reshape, [numbers(xp, 2, 3)], [], {"shape": (3, 2)}),
    "transpose": lambda xp: (tensor.transpose, [numbers(xp, 2, 3)], [], {}),
    "exp": lambda xp: (tensor.exp, [numbers(xp, 2, 3)], [], {}),
    "log": lambda xp: (tensor.log, [positive(xp, 2, 3)], [], {}),
    "sqrt": lambda xp: (tensor.sqrt, [positive(xp, 2, 3)], [], {}),
    "absolute": lambda xp: (tensor.absolute, [numbers(xp, 2, 3)], [], {}),
    "getitem": lambda xp: (
        tensor.getitem, [numbers(xp, 4, 3)], [], {"index": xp.asarray(np.array([0, 0, 3]))},
    ),
    "affine": lambda xp: (
        F.affine, [numbers(xp, 4, 3), numbers(xp, 3, 2, seed=1), numbers(xp, 2)], [], {},
    ),
    "relu": lambda xp: (F.relu, [positive(xp, 4, 3)], [], {}),
    "sigmoid": lambda xp: (F.sigmoid, [numbers(xp, 4, 3)], [], {}),
    "tanh": lambda xp: (F.tanh, [numbers(xp, 4, 3)], [], {}),
    "batch_norm": lambda xp: (
        F.batch_norm, [numbers(xp, 5, 3), numbers(xp, 3, seed=1), numbers(xp, 3)], [], {},
    ),
    "batch_norm in evaluation": lambda xp: (
        F.batch_norm,
        [numbers(xp, 5, 3), numbers(xp, 3, seed=1), numbers(xp, 3)], [], evaluation(xp),
    ),
    "dropout": lambda xp: (F.dropout, [numbers(xp, 4, 3)], [], {"p": 0.25}),
    "softmax": lambda xp: (F.softmax, [numbers(xp, 4, 3)], [], {}),
    "log_softmax": lambda xp: (F.log_softmax, [numbers(xp, 4, 3)], [], {}),
    "cross-entropy": lambda xp: (
        gn.softmax_cross_entropy, [numbers(xp, 3, 3)], [xp.asarray(np.array([0, 2, 1]))], {},
    ),
    "cross-entropy, soft": lambda xp: (
        gn.softmax_cross_entropy,
        [numbers(xp, 3, 3)], [q(xp)],
        {"label_smoothing": 0.1, "class_weights": positive(xp, 3)},
    ),
    "squared error": lambda xp: (
        gn.mean_squared_error, [numbers(xp, 3, 3)], [numbers(xp, 3, 3, seed=1)], {},
    ),
    "kl": lambda xp: (gn.kl_divergence, [numbers(xp, 3, 3)], [q(xp)], {}),
    "sigmoid loss": lambda xp: (gn.sigmoid_cross_entropy, [numbers(xp, 3, 3)], [q(xp)], {}),
}  # fmt: skip
INPUTS = [
    (name, k) for name, make in CASES.items() for k in range(len(make(np)[1]))
]  # every input of every op


@pytest.mark.parametrize(("name", "which"), INPUTS, ids=str)
def test_every_mutated_gradient_is_found(xp: Any, name: str, which: int) -> None:
    op, inputs, constants, options = CASES[name](xp)
    assert gradcheck(lambda *xs: op(*xs, *constants, **options), inputs)
    for change in CHANGES.values():
        wrong = mutated(op, which, change)
        message = failure(lambda *xs, w=wrong: w(*xs, *constants, **options), inputs)
        assert f"input {which} " in message


@pytest.mark.parametrize("rows", [2, 8, 33])
def test_a_batch_norm_whose_dx_is_zero_is_found(
    xp: Any, device: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an upstream gradient of ones it passes: sum(BatchNorm(x)) does not depend on x."""
    layer = gn.BatchNorm(3, dtype=np.float64)
    layer.gamma.data = np.array([0.5, -1.5, 2.0])
    layer.to(device)
    x = numbers(xp, rows, 3)
    assert gradcheck(layer, x)
    monkeypatch.setattr(F, "batch_norm", mutated(F.batch_norm, 0, CHANGES["zeroed"]))
    assert "input 0" in failure(layer, x)
    leaf = gn.Tensor(x, requires_grad=True)
    layer(leaf).sum().backward()
    assert not to_host(leaf.grad).any()
    eps, up = 1e-6, to_host(x).copy()
    up[0, 0] += eps
    difference = layer(xp.asarray(up)).sum().item() - layer(x).sum().item()
    assert abs(difference / eps) < 1e-6  # what a check with ones would have compared with 0


LAYERS: dict[str, tuple[str, Callable[[], gn.Layer], int]] = {
    "Affine": ("affine", lambda: gn.Affine(3, 2, dtype=np.float64), 3),
    "ReLU": ("relu", gn.ReLU, 1),
    "Sigmoid": ("sigmoid", gn.Sigmoid, 1),
    "Tanh": ("tanh", gn.Tanh, 1),
    "BatchNorm": ("batch_norm", lambda: gn.BatchNorm(3, dtype=np.float64), 3),
    "BatchNorm, eval": ("batch_norm", lambda: gn.BatchNorm(3, dtype=np.float64).eval(), 3),
    "Dropout": ("dropout", lambda: gn.Dropout(0.25, seed=1), 1),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("change", CHANGES)
def test_mutations_under_layers_are_found(
    xp: Any, device: str, name: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, make, inputs = LAYERS[name]
    for which in range(inputs):
        layer = make().to(device)
        assert gradcheck(layer, numbers(xp, 6, 3))
        with monkeypatch.context() as patch:
            home = activations if hasattr(activations, op) else F
            patch.setattr(home, op, mutated(getattr(home, op), which, CHANGES[change]))
            message = failure(layer, numbers(xp, 6, 3))
        wanted = ["input 0", *(f"parameter {n}" for n, _ in layer.named_parameters())][which]
        assert f"the gradient of {wanted} " in message


# --- large inputs ---------------------------------------------------------------------------------


def wrong_at(index: tuple[int, ...], change: Callable[[Any], Any] = lambda g: g + 1) -> gn.Op:
    def change_one(g: Any) -> Any:
        g = g.copy()
        g[index] = change(g[index])
        return g

    return mutated(tensor.multiply, 0, change_one)


def test_large_inputs_go_along_directions(xp: Any) -> None:
    x = numbers(xp, 50, 60)
    assert x.size > ELEMENTWISE
    calls = []

    def count(t: gn.Tensor) -> gn.Tensor:
        calls.append(1)
        return F.tanh(t)

    assert gradcheck(count, x)
    assert len(calls) == 2 + 2 * 10
    calls.clear()
    assert gradcheck(count, x, directions=3)
    assert len(calls) == 2 + 2 * 3


@pytest.mark.parametrize("index", [(0, 0), (31, 17), (49, 59)])
def test_one_wrong_element_of_a_large_input_is_found(xp: Any, index: tuple[int, int]) -> None:
    op = wrong_at(index)
    message = failure(lambda t: op(t, 2.0), numbers(xp, 50, 60))
    assert f"is wrong at {list(index)}" in message
    assert "found by halving random direction 0" in message


@pytest.mark.parametrize("change", CHANGES)
def test_mutations_along_directions(xp: Any, change: str) -> None:
    wrong = mutated(F.sigmoid, 0, CHANGES[change])
    assert "input 0" in failure(wrong, numbers(xp, 4, 3), directions=2)


# --- what it says ---------------------------------------------------------------------------------


def upstream(seed: int, *shape: int) -> Any:
    """The gradient that gradcheck sends back."""
    x = gn.Tensor(np.zeros(shape), requires_grad=True)
    seen = []

    @gn.op
    def watch(x: Any) -> Any:
        return x * 1, lambda g: seen.append(g.copy()) or g

    gradcheck(watch, x, seed=seed)
    return seen[0]


def test_the_message_holds_what_a_person_needs() -> None:
    x = np.arange(12.0).reshape(2, 6) / 4
    op = wrong_at((1, 3), lambda g: 100.0)
    message = failure(lambda a, t: op(t, 2.0) + a * 0, [np.zeros(6), x], seed=3)
    lines = message.splitlines()
    assert lines[0] == (
        "the gradient of input 1 (shape (2, 6)) is wrong at [1, 3], "
        "the worst of 1 wrong elements out of 12"
    )
    assert lines[1].split() == ["backward", "gives", "100.0"]
    wanted = 2 * upstream(3, 2, 6)[1, 3]
    assert lines[2].startswith("  differences give   ")
    assert float(lines[2].split()[2]) == pytest.approx(wanted, rel=1e-8)
    assert "(step 2.25e-06)" in lines[2]
    assert lines[3].split(maxsplit=3)[3] == "[1, 1:6] = 1.75, 2, >2.25<, 2.5, 2.75"
    assert len(lines) == 4


def test_a_scalar_and_a_row_are_shown() -> None:
    wrong = mutated(tensor.exp, 0, lambda g: g + 1)
    assert "  the input is       2.0" in failure(wrong, np.array(2.0))
    wrong = mutated(tensor.exp, 0, lambda g: g + np.array([1.0, 0.0]))
    assert "  inputs near it     [0:2] = >2<, 3" in failure(wrong, np.array([2.0, 3.0]))


def test_the_worst_element_is_named() -> None:
    def change(g: Any) -> Any:
        return g + np.array([1.0, 5.0, 0.0])

    message = failure(mutated(tensor.exp, 0, change), np.zeros(3))
    assert "is wrong at [1], the worst of 2 wrong elements out of 3" in message


def test_a_kink_is_pointed_out(xp: Any) -> None:
    x = xp.asarray(np.array([1.0, 2e-7, -1.0]))
    message = failure(F.relu, x)
    assert "is wrong at [1]" in message
    assert "near a kink: the slope is" in message
    assert "near a kink" in failure(F.relu, xp.zeros(2))
    assert gradcheck(tensor.absolute, xp.zeros(2))  # 0 is what lies between -1 and 1
    assert gradcheck(F.relu, x, eps=1e-8, atol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "log_softmax"])
def test_a_smooth_point_is_no_kink(xp: Any, name: str) -> None:
    wrong = mutated(getattr(F, name), 0, CHANGES["zeroed"])
    assert "kink" not in failure(wrong, numbers(xp, 4, 3))


# --- what else goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite(xp: Any, bad: float) -> None:
    op = wrong_at((1, 2), lambda g: bad)
    message = failure(lambda t: op(t, 2.0), numbers(xp, 2, 3))
    assert f"the gradient of input 0 (shape (2, 3)) at [1, 2] is {bad}" in message
    assert "inputs near it" in message


def test_a_gradient_of_a_wrong_shape(xp: Any) -> None:
    wrong = mutated(tensor.exp, 0, lambda g: g.sum())
    message = failure(wrong, numbers(xp, 2, 3))
    assert message.startswith("backward failed: backward of 'mutated_exp'")
    assert "()" in message
    assert "(2, 3)" in message


def test_a_function_without_gradient(xp: Any) -> None:
    assert "nothing to differentiate" in failure(lambda t: t.detach() * 2, numbers(xp, 3))
    assert gradcheck(lambda a, b: a * 2 + b.detach() * 0, [numbers(xp, 3), numbers(xp, 3)])
    message = failure(lambda a, b: a * b.detach(), [numbers(xp, 3), numbers(xp, 3, seed=1)])
    assert "the gradient of input 1" in message


def test_an_input_changed_in_place(xp: Any) -> None:
    def forward(t: gn.Tensor) -> gn.Tensor:
        t.data[...] *= 2
        return t * 1

    x = numbers(xp, 3)
    before = to_host(x).copy()
    assert failure(forward, x) == "forward changed input 0 in place"
    np.testing.assert_array_equal(to_host(x), before)
    leaf = gn.Tensor(x, requires_grad=True)
    failure(forward, leaf)
    np.testing.assert_array_equal(to_host(leaf.data), before)

    @gn.op
    def backward_changes(x: Any) -> Any:
        def backward(g: Any) -> Any:
            x[...] = 0
            return g

        return x * 1, backward

    assert gradcheck(backward_changes, leaf)  # an op has a copy of a caller's array
    np.testing.assert_array_equal(to_host(leaf.data), before)


def test_a_constant_changed_in_place(xp: Any) -> None:
    labels = gn.Tensor(xp.asarray(np.array([1, 2, 3])))

    def forward(t: gn.Tensor, k: gn.Tensor) -> gn.Tensor:
        k.data[...] = 0
        return t * 1

    assert failure(forward, [numbers(xp, 3), labels]) == "forward changed input 1 in place"


def test_an_upstream_gradient_changed_in_place(xp: Any) -> None:
    """The book's ReLU writes into the caller's dout."""

    @gn.op
    def book_relu(x: Any) -> Any:
        def backward(g: Any) -> Any:
            g[x <= 0] = 0
            return g

        return x * (x > 0), backward

    assert failure(book_relu, numbers(xp, 8)) == "backward changed the upstream gradient in place"


def test_a_random_function(xp: Any) -> None:
    generator = np.random.default_rng(0)
    message = failure(lambda t: t * float(generator.uniform()), numbers(xp, 3))
    assert "two runs on the same inputs give different outputs" in message


def test_an_output_that_is_not_finite(xp: Any) -> None:
    with np.errstate(invalid="ignore"):
        assert "output holds nan" in failure(lambda t: t.log(), xp.asarray(np.array([-1.0, 1.0])))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_only_float64(xp: Any, dtype: Any) -> None:
    x = numbers(xp, 3).astype(dtype)
    for given in (x, gn.Tensor(x, requires_grad=True)):
        with pytest.raises(
            TypeError, match=f"gradcheck needs float64, input 0 is {np.dtype(dtype)}"
        ):
            gradcheck(F.tanh, given)


def test_a_float32_layer_and_output(xp: Any, device: str) -> None:
    with pytest.raises(TypeError, match="needs float64, parameter W is float32"):
        gradcheck(gn.Affine(3, 2).to(device), numbers(xp, 4, 3))
    with pytest.raises(TypeError, match="but the output is float32"):
        gradcheck(lambda t: F.affine(t, xp.ones((3, 2), np.float32)), numbers(xp, 4, 3))


def test_misuse(xp: Any) -> None:
    with pytest.raises(ValueError, match="nothing to check"):
        gradcheck(lambda t: t * 1.0, [xp.asarray(np.array([1, 2]))])
    with pytest.raises(ValueError, match="nothing to check"):
        gradcheck(lambda t: t * 1.0, gn.Tensor(numbers(xp, 3)))
    with pytest.raises(TypeError, match="a function that returns a Tensor, got"):
        gradcheck(lambda t: t.data, numbers(xp, 3))
    interior = gn.Tensor(numbers(xp, 3), requires_grad=True) * 2
    with pytest.raises(ValueError, match=r"input 0 was computed by an op; give x\.detach\(\)"):
        gradcheck(F.tanh, interior)


# --- how it is given what it checks ---------------------------------------------------------------


def test_kinds_of_inputs(xp: Any) -> None:
    x = numbers(xp, 2, 3)
    for given in (
        x,
        [x],
        (x,),
        gn.Tensor(x, requires_grad=True),
        gn.Parameter(x),
        [gn.Parameter(x)],
    ):
        assert gradcheck(F.tanh, given) is True
    assert gradcheck(lambda a, k: a * k, [x, 3.0])
    assert gradcheck(lambda a, rows: a[rows], [x, xp.asarray(np.array([1, 1]))])
    assert gradcheck(gn.SoftmaxWithLoss(), [x, xp.asarray(np.array([1, 0]))])
    soft = gn.Tensor(xp.asarray(np.full((2, 3), 1 / 3)))
    assert gradcheck(gn.SoftmaxWithLoss(), [x, soft])
    leaf = gn.Tensor(x, requires_grad=True)
    assert gradcheck(lambda a, b: a * b, [leaf, leaf])
    if xp is np:
        assert gradcheck(F.tanh, [[1.0, 2.0]])


def test_an_empty_input(xp: Any) -> None:
    assert gradcheck(F.tanh, xp.zeros((0, 3)))
    assert gradcheck(F.tanh, xp.zeros((0, 3)), directions=2)


def test_the_seed_chooses_the_upstream_gradient() -> None:
    np.testing.assert_array_equal(upstream(0, 5), upstream(0, 5))
    assert not np.array_equal(upstream(0, 5), upstream(1, 5))


def test_the_upstream_gradient_is_not_the_callers_own_random_numbers(xp: Any, device: str) -> None:
    """With x = default_rng(0) and an upstream gradient equal to it BatchNorm's dx is nearly 0, and
    backward may be a thousandth off unseen.
    """
    x = numbers(xp, 5, 3)
    assert abs(np.corrcoef(upstream(0, 5, 3).ravel(), to_host(x).ravel())[0, 1]) < 0.7
    assert "input 0" in failure(
        mutated(F.batch_norm, 0, CHANGES["scaled"]), [x, xp.ones(3), xp.zeros(3)]
    )


def test_tolerances(xp: Any) -> None:
    wrong = mutated(tensor.exp, 0, lambda g: g * (1 + 1e-4))
    x = numbers(xp, 3)
    assert gradcheck(wrong, x, rtol=1e-3)
    assert gradcheck(wrong, x, atol=1.0)
    assert "input 0" in failure(wrong, x)


# --- what it leaves behind ------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("arena", [False, True])
def test_values_and_gradients_are_as_before(
    xp: Any, device: str, arena: bool, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = gn.Affine(3, 2, dtype=np.float64).to(device)
    x = gn.Tensor(numbers(xp, 4, 3), requires_grad=True)
    layer(x).sum().backward()
    if arena:
        Arena([layer.parameters()])
    layer.b.grad = None
    tensors = [x, *layer.parameters()]
    values = [to_host(t.data).copy() for t in tensors]
    gradients = [None if t.grad is None else to_host(t.grad).copy() for t in tensors]
    data = [t.data for t in tensors]
    if fails:
        monkeypatch.setattr(F, "affine", mutated(F.affine, 1, CHANGES["negated"]))
        assert "parameter W" in failure(layer, x)
    else:
        assert gradcheck(layer, x)
    for t, value, gradient, array in zip(tensors, values, gradients, data, strict=True):
        assert t.data is array
        np.testing.assert_array_equal(to_host(t.data), value)
        if gradient is None:
            assert t.grad is None
        else:
            np.testing.assert_array_equal(to_host(t.grad), gradient)


def test_running_statistics_and_masks_stand_still(xp: Any, device: str) -> None:
    """Also inside a function, where gradcheck cannot see the layers."""
    model = gn.Sequential(gn.BatchNorm(3, dtype=np.float64), gn.Dropout(0.5)).to(device)
    before = model.state_dict()
    x = numbers(xp, 6, 3)
    for fn in (model, lambda t: model(t), lambda t: model(model(t))):
        assert gradcheck(fn, x)
    after = model.state_dict()
    for name, array in before.items():
        np.testing.assert_array_equal(to_host(after[name]), to_host(array))
    assert model[1].calls == 0
    model(x)
    assert model[1].calls == 1
    assert to_host(model[0].running_mean).any()


@pytest.mark.parametrize("before", [False, True])
def test_parameters_inside_the_function_keep_their_gradients(
    xp: Any, device: str, before: bool
) -> None:
    layer = gn.Affine(3, 2, dtype=np.float64).to(device)
    if before:
        layer(numbers(xp, 4, 3)).sum().backward()
    gradients = [None if p.grad is None else to_host(p.grad).copy() for p in layer.parameters()]
    assert gradcheck(lambda x: layer(layer(x) @ layer.W.T), numbers(xp, 4, 3))
    for p, gradient in zip(layer.parameters(), gradients, strict=True):
        if gradient is None:
            assert p.grad is None
        else:
            np.testing.assert_array_equal(to_host(p.grad), gradient)


def test_the_callers_array_is_not_touched(xp: Any) -> None:
    x = numbers(xp, 3)
    before = to_host(x).copy()
    seen: list[Any] = []
    assert gradcheck(lambda t: seen.append(t.data) or t * 2.0, x)
    assert all(array is not x for array in seen)
    np.testing.assert_array_equal(to_host(x), before)

"""gpunet.book.optimizer: the book's arguments, defaults and attributes, and its steps."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.book import optimizer

KINDS = {name: getattr(optimizer, name) for name in optimizer.__all__ if name != "np"}
ARGUMENTS = {
    "SGD": {"lr": 0.01},
    "Momentum": {"lr": 0.01, "momentum": 0.9},
    "Nesterov": {"lr": 0.01, "momentum": 0.9},
    "AdaGrad": {"lr": 0.01},
    "RMSprop": {"lr": 0.01, "decay_rate": 0.99},
    "Adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999},
}
STATE = {"Momentum": "v", "Nesterov": "v", "AdaGrad": "h", "RMSprop": "h", "Adam": "m"}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_defaults_attributes(name: str) -> None:
    signature = inspect.signature(KINDS[name])
    assert {p.name: p.default for p in signature.parameters.values()} == ARGUMENTS[name]
    made = KINDS[name](*[value / 2 for value in ARGUMENTS[name].values()])
    assert {k: getattr(made, k) for k in ARGUMENTS[name]} == {
        k: value / 2 for k, value in ARGUMENTS[name].items()
    }
    made.lr = 0.5
    assert made.lr == 0.5


@pytest.mark.parametrize("name", STATE)
def test_state_by_key_none_before_the_first_update(name: str, xp: Any) -> None:
    made = KINDS[name]()
    assert getattr(made, STATE[name]) is None
    made.update(
        {"W1": xp.ones((2, 3)), "b1": xp.ones(3)}, {"W1": xp.ones((2, 3)), "b1": xp.ones(3)}
    )
    assert {k: a.shape for k, a in getattr(made, STATE[name]).items()} == {"W1": (2, 3), "b1": (3,)}


def test_adam_counts() -> None:
    made = optimizer.Adam()
    assert (made.iter, made.v) == (0, None)
    made.update({"a": np.ones(2)}, {"a": np.ones(2)})
    assert made.iter == 1
    np.testing.assert_allclose(made.v["a"], 0.001)


def book_steps(name: str, p: float, gradients: list[float]) -> float:
    """The book's formulas on one number."""
    lr, v, h, m = ARGUMENTS[name]["lr"], 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        if name == "SGD":
            p -= lr * g
        elif name == "Momentum":
            v = 0.9 * v - lr * g
            p += v
        elif name == "Nesterov":  # as the book's repository has it since January 2021
            p += 0.9 * 0.9 * v - 1.9 * lr * g
            v = 0.9 * v - lr * g
        elif name == "AdaGrad":
            h += g * g
            p -= lr * g / (h**0.5 + 1e-7)
        elif name == "RMSprop":
            h = 0.99 * h + 0.01 * g * g
            p -= lr * g / (h**0.5 + 1e-7)
        else:
            m, v = m + 0.1 * (g - m), v + 0.001 * (g * g - v)
            rate = lr * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
            p -= rate * m / (v**0.5 + 1e-7)
    return p


@pytest.mark.parametrize("name", KINDS)
def test_steps_of_arrays_and_of_numbers(name: str, xp: Any) -> None:
    gradients = [5.0, 3.0, -1.0, 1e-7, 0.5]  # a small one, where eps counts
    array, number = {"p": xp.asarray([1.0, 2.0])}, {"p": 1, "q": 2.0}
    by_array, by_number = KINDS[name](), KINDS[name]()
    for g in gradients:
        by_array.update(array, {"p": xp.full(2, g)})
        by_number.update(number, {"p": g, "q": g, "of no parameter": g})
    expected = [book_steps(name, p, gradients) for p in (1.0, 2.0)]
    np.testing.assert_allclose(to_host(array["p"]), expected, rtol=1e-13)
    assert [number["p"], number["q"]] == pytest.approx(expected, rel=1e-13)


def test_gradients_of_another_dtype(xp: Any) -> None:
    params = {"W": xp.ones((2, 2), dtype=np.float32)}
    optimizer.SGD(0.5).update(params, {"W": xp.ones((2, 2))})
    assert params["W"].dtype == np.float32
    assert to_host(params["W"]).tolist() == [[0.5, 0.5]] * 2


def test_one_optimizer_for_several_networks() -> None:
    """batch_norm_test and weight_init_compare share one SGD."""
    one, other = {"W": np.ones((2, 2))}, {"W": np.ones((3, 2)), "gamma": np.ones(2)}
    made = optimizer.SGD(lr=0.5)
    for params in (one, other, one):
        made.update(params, {k: np.ones_like(a) for k, a in params.items()})
    assert (one["W"] == 0).all()
    assert (other["gamma"] == 0.5).all()


def test_copies_are_independent() -> None:
    made, params = optimizer.Momentum(), {"x": 1.0}
    made.update(params, {"x": 1.0})
    twin = copy.deepcopy(made)
    twin.update({"x": 1.0}, {"x": 1.0})
    assert float(made.v["x"]) == pytest.approx(-0.01)
    assert float(twin.v["x"]) == pytest.approx(-0.019)


def test_two_devices_are_refused(sim: Any) -> None:
    with pytest.raises(gn.DeviceError, match="two devices"):
        optimizer.SGD().update({"W": sim.ones(2)}, {"W": np.ones(2)})


# gpunet's own say what to write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gn.SGD(0.01), r"got 0\.01: write SGD\(lr=0\.01\) .*gpunet\.book\.optimizer"),
        (lambda: gn.Momentum(0.01, 0.9), r"write Momentum\(lr=0\.01\) .*gpunet\.book\.optimizer"),
        (lambda: gn.Adam(np.float32(1)), r"write Adam\(lr=.*gpunet\.book\.optimizer"),
        (lambda: gn.Adam(beta1=0.9), r"write betas=\(0\.9, 0\.999\).*gpunet\.book\.optimizer"),
        (lambda: gn.Adam(beta2=0.9), r"write betas=\(0\.9, 0\.999\).*gpunet\.book\.optimizer"),
        (lambda: gn.RMSProp(decay_rate=0.9), r"write rho=0\.99.*gpunet\.book\.optimizer"),
        (lambda: gn.SGD(learning_rate=0.1), r"write lr=0\.001"),
    ],
)
def test_the_books_arguments_are_answered(make: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        make()


def test_a_setting_that_is_not_there_gets_no_hint() -> None:
    with pytest.raises(TypeError, match=r"^SGD has no setting 'beta1'; it has lr, "):
        gn.SGD(beta1=0.9)


def test_numbers_in_params_are_answered() -> None:
    with pytest.raises(ValueError, match=r"params\['x'\].* got float; .*gpunet\.book\.optimizer"):
        gn.SGD(lr=0.1).update({"x": 1.0}, {"x": 1.0})

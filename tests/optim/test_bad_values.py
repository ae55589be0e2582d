"""What an optimizer refuses, in which words, and that nothing has changed then."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.optim.check import RULES

NAN, INF = float("nan"), float("inf")


def one(device: str = "cpu", dtype: Any = np.float32) -> gn.Parameter:
    p = gn.Parameter(gn.to_device(np.ones((2, 2), dtype), device))
    p.grad = np.ones((2, 2), dtype)
    return p


def takes(kind: Any, name: str) -> bool:
    return name in kind().defaults


COMMON = [
    ("lr", -0.1),
    ("lr", NAN),
    ("lr", INF),
    ("lr", "0.1"),
    ("lr", None),
    ("lr", True),
    ("lr", [0.1, 0.2]),
    ("lr", 1j),
    ("betas", (1.0, 0.9)),
    ("betas", (0.9, -0.1)),
    ("betas", (NAN, 0.9)),
    ("betas", 0.9),
    ("betas", (0.9, 0.9, 0.9)),
    ("betas", "ab"),
    ("rho", 1.0),
    ("rho", -0.1),
    ("momentum", 1.001),
    ("momentum", -0.1),
    ("momentum", "0.9"),
    ("eps", -1e-8),
    ("eps", NAN),
    ("eps_root", -1.0),
    ("eps_hat", -1.0),
    ("eps_hat", "yes"),
    ("eps_inside", 1e-8),
    ("eps_denominator", -1.0),
    ("centered", "no"),
    ("initial_accumulator", -1.0),
    ("momentum_decay", NAN),
    ("weight_decay", -0.1),
    ("weight_decay", INF),
    ("alpha", 0.0),
    ("alpha", -100.0),
    ("etas", (0.5, 0.9)),
    ("etas", (0.0, 1.2)),
    ("etas", (1.2, 0.5)),
    ("step_sizes", (1.0, 0.1)),
    ("step_sizes", (0.0, 1.0)),
]
KINDS = list(gn.OPTIMIZERS.values())


@pytest.mark.parametrize(("name", "value"), COMMON)
def test_a_bad_setting_is_named(name: str, value: Any) -> None:
    """The rules are one table: the first optimizer that has the setting stands for all."""
    kind = next(kind for kind in KINDS if takes(kind, name))
    with pytest.raises(ValueError, match=f"^{name} must be"):
        kind(None, **{name: value})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_optimizer_checks_each_of_its_settings(kind: Any) -> None:
    for name in kind().defaults:
        with pytest.raises(ValueError, match=f"^{name} must be"):
            kind(None, **{name: "much"})


def test_every_rule_is_tried() -> None:
    assert set(RULES) - {"clip_norm", "clip_value"} <= {name for name, _ in COMMON}


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("value", [0, -1.0, NAN, INF, "1", True])
def test_clipping_limits_are_greater_than_zero(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a number greater than 0"):
        gn.SGD(None, **{name: value})


def test_decay_all_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="decay_all must be True or False"):
        gn.SGD(None, decay_all="no")


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(TypeError, match=r"Adam has no setting 'betta'; it has lr, betas, eps, "):
        gn.Adam(None, betta=0.9)
    with pytest.raises(TypeError, match="Adam has no setting 'betta'"):
        gn.Adam([{"params": [one()], "betta": 0.9}])


@pytest.mark.parametrize(("kind", "name"), [(gn.COCOB, "lr"), (gn.SGD, "momentum")])
def test_another_optimizers_setting_is_unknown_too(kind: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} has no setting '{name}'"):
        kind(None, **{name: 0.5})


def test_an_optimizer_without_a_rate_has_no_lr(device: str) -> None:
    optimizer = gn.COCOB([one(device)])
    with pytest.raises(AttributeError, match="COCOB has no learning rate"):
        optimizer.lr = 0.1
    assert not hasattr(optimizer, "lr")
    assert np.isnan(optimizer.current_lr())
    optimizer.step()


def test_a_subclass_may_fix_settings() -> None:
    class Calm(gn.Adam):
        def __init__(self, parameters: Any = None, calm: float = 1.0) -> None:
            super().__init__(parameters, lr=1e-3 / calm)

    assert Calm(calm=10).lr == 1e-4


# Parameters


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (lambda p: 0.1, TypeError, r"SGD takes .* got 0\.1: .*model\.parameters\(\), lr=0\.1"),
        (lambda p: "weights", TypeError, r"SGD got str for its parameters"),
        (lambda p: {"W": p}, TypeError, r"SGD got dict for its parameters"),
        (lambda p: [], ValueError, "SGD got no parameters"),
        (lambda p: [{"params": []}], ValueError, "SGD got no parameters"),
        (lambda p: [p, p], ValueError, r"parameter 1 \(shape \(2, 2\)\) is given twice"),
        (lambda p: [{"params": [p]}, {"params": [p]}], ValueError, "given twice"),
        (lambda p: [p, p.data], TypeError, r"parameter 1 is a ndarray.*update\(params, grads\)"),
        (lambda p: [p, 3], TypeError, "parameter 1 is a int, expected a gpunet.Parameter"),
        (lambda p: [{"lr": 0.1}], ValueError, '"params"'),
        (lambda p: gn.MLP([2, 2]), TypeError, r"parameter 0 is a Affine.*model\.parameters\(\)"),
    ],
)
def test_wrong_parameters(parameters: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gn.SGD(parameters(one()))


@pytest.mark.parametrize("bad", [{"lr": -1}, {"lr": "fast"}, {"betas": (0.9, 2)}, {"eps": NAN}])
def test_group_settings_are_checked_as_well(bad: Any, device: str) -> None:
    p, q = one(device), one(device)
    (name,) = bad
    with pytest.raises(ValueError, match=f"^{name} must be"):
        gn.Adam([{"params": [p]}, {"params": [q], **bad}])
    optimizer = gn.Adam([{"params": [p]}, {"params": [q]}])
    before = copy.deepcopy(optimizer.groups)
    with pytest.raises(ValueError, match=f"^{name} must be"):
        optimizer.groups[1][name] = bad[name]
    with pytest.raises(TypeError, match="no setting 'lrr'; there is lr, betas"):
        optimizer.groups[1]["lrr"] = 0.1
    if name == "lr":
        with pytest.raises(ValueError, match=r"^lr must be"):
            optimizer.lr = bad["lr"]
    assert optimizer.groups == before
    optimizer.step()


# Nothing has changed


def test_a_refused_optimizer_leaves_the_parameters_to_the_old_one(device: str) -> None:
    p, q = one(device), one(device, np.float64)
    first = gn.SGD([p, q], lr=0.5)
    for wrong in ({"lr": -1}, {"lr": lambda t: NAN}, {"momentum": 0.5}):
        with pytest.raises((ValueError, TypeError)):
            gn.SGD([p, q], **wrong)
    with pytest.raises(ValueError, match="twice"):
        gn.SGD([p, q, q])
    first.step()
    assert to_host(p.data).tolist() == [[0.5, 0.5]] * 2


def test_a_beta_that_is_one_in_float32_is_refused(device: str) -> None:
    p = one(device)
    optimizer = gn.Adam([p], betas=(0.9, 1 - 1e-9))
    with pytest.raises(ValueError, match=r"betas must be .* got .*float32"):
        optimizer.step()
    assert (to_host(p.data) == 1).all()
    gn.Adam([one(device, np.float64)], betas=(0.9, 1 - 1e-9)).step()


@pytest.mark.parametrize("bad", [NAN, -0.1, None, "0.1"])
def test_a_bad_schedule_names_t_and_changes_nothing(bad: Any, device: str) -> None:
    p, q = one(device), one(device)
    good = {"params": [p], "lr": 0.25}
    wrong = {"params": [q], "lr": lambda t: bad if t == 2 else 0.25}
    optimizer = gn.SGD([good, wrong])
    optimizer.step()
    optimizer.step()
    with pytest.raises(ValueError, match=r"schedule's lr must be .* at t = 2"):
        optimizer.step()
    assert to_host(p.data).tolist() == to_host(q.data).tolist() == [[0.5, 0.5]] * 2
    assert optimizer.t == 2


def test_a_schedule_that_raises_is_heard(device: str) -> None:
    rates = [0.5, 0.25, 0.125]
    p = one(device)
    optimizer = gn.SGD([p], lr=lambda t: rates[t])
    for _ in rates:
        optimizer.step()  # the scalar table looks 256 steps ahead: it must not fail early
    with pytest.raises(IndexError):
        optimizer.step()
    assert (to_host(p.data) == 1 - sum(rates)).all()


# Parameters that have left


def test_parameters_of_two_devices_are_refused(cupy: Any) -> None:
    """Also where each dtype for itself lives on one device; an older optimizer keeps them."""
    here, there = one("cpu", np.float64), one("cuda", np.float32)
    older = gn.SGD([there], lr=0.5)
    with pytest.raises(gn.DeviceError, match="Adam got arrays of two devices"):
        gn.Adam([there, here])
    older.step()
    assert (to_host(there.data) == 0.5).all()


def test_a_second_optimizer_takes_the_parameters(device: str) -> None:
    p = one(device)
    first = gn.SGD([p], lr=0.5)
    second = gn.SGD([p], lr=0.25)
    for call in (first.step, first.zero_grad):
        with pytest.raises(RuntimeError, match=r"given to another optimizer; make a new one"):
            call()
    second.step()
    assert to_host(p.data).tolist() == [[0.75, 0.75]] * 2


def test_a_model_moved_after_the_optimizer_was_made(cupy: Any) -> None:
    model = gn.MLP([3, 2])
    optimizer = gn.Adam(model.parameters())
    optimizer.step()
    model.to("cuda")
    for call in (optimizer.step, optimizer.zero_grad):
        with pytest.raises(RuntimeError, match="moved to cuda; make a new one"):
            call()
    fresh = gn.Adam(model.parameters())
    fresh.load_state_dict(optimizer.state_dict())
    fresh.step()
    assert fresh.t == 2


def test_a_step_without_parameters_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"SGD has no parameters.*update\(params, grads\)"):
        gn.SGD().step()

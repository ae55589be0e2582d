"""gpunet.optim.declared: a class's attributes as arguments and settings; what type checkers see."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from dataclasses import KW_ONLY
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import gpunet as gn
from tests.tools import make_stub

ROOT = Path(__file__).resolve().parents[2]
COMMON = "weight_decay=0.0, clip_norm=None, clip_value=None, decay_all=False"
ADAM = "lr=0.001, betas=(0.9, 0.999), eps=1e-08"
ARGUMENTS = {  # in this order; users may give those before the star by position
    "sgd": f"lr=0.001, *, {COMMON}",
    "momentum": f"lr=0.01, momentum=0.9, *, {COMMON}",
    "nesterov": f"lr=0.01, momentum=0.9, *, {COMMON}",
    "adagrad": f"lr=0.01, eps=1e-10, *, initial_accumulator=0.0, eps_inside=False, {COMMON}",
    "rmsprop": "lr=0.01, rho=0.99, eps=1e-08, *, momentum=0.0, centered=False, eps_inside=False, "
    + COMMON,
    "rprop": f"lr=0.01, etas=(0.5, 1.2), step_sizes=(1e-06, 50.0), *, {COMMON}",
    "adadelta": f"lr=1.0, rho=0.9, eps=1e-06, *, {COMMON}",
    "adam": f"{ADAM}, *, eps_root=0.0, eps_hat=False, {COMMON}",
    "adamax": f"lr=0.002, betas=(0.9, 0.999), eps=1e-08, *, {COMMON}",
    "cocob": f"alpha=100.0, *, eps=1e-08, eps_denominator=0.0, {COMMON}",
    "adamw": f"{ADAM}, *, {COMMON.replace('0.0', '0.01')}",
    "amsgrad": f"{ADAM}, *, {COMMON}",
    "nadam": f"lr=0.002, betas=(0.9, 0.999), eps=1e-08, *, momentum_decay=0.004, {COMMON}",
    "radam": f"{ADAM}, *, {COMMON}",
    "adabelief": f"{ADAM.replace('08', '16')}, *, eps_root=1e-16, {COMMON}",
    "lion": f"lr=0.0001, betas=(0.9, 0.99), *, {COMMON.replace('0.0', '0.001')}",
}


def one() -> gn.Parameter:
    return gn.Parameter(np.ones((2, 2), np.float32))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_and_defaults_are_as_they_were(name: str) -> None:
    assert str(inspect.signature(gn.OPTIMIZERS[name])) == f"(parameters=None, {ARGUMENTS[name]})"


def test_a_setting_is_an_attribute_of_all_groups() -> None:
    optimizer = gn.Adam([{"params": [one()]}, {"params": [one()], "eps": 1e-3}], 0.5, eps=1e-2)
    assert (optimizer.lr, optimizer.eps, gn.Adam.eps) == (0.5, 1e-2, 1e-8)
    optimizer.eps = 1e-4
    optimizer.weight_decay = 0.1
    assert [(g["eps"], g["weight_decay"]) for g in optimizer.groups] == [(1e-4, 0.1)] * 2
    assert optimizer.defaults["eps"] == 1e-4
    with pytest.raises(ValueError, match=r"^betas must be"):
        optimizer.betas = (0.9, 1.0)
    assert optimizer.betas == (0.9, 0.999)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_keeps_its_settings(again: Any) -> None:
    twin = again(gn.RMSProp(lr=0.5, momentum=0.25))
    assert (twin.lr, twin.momentum, twin.t) == (0.5, 0.25, 0)


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        ((None, 0.1), {"lr": 0.1}, "SGD: multiple values for argument 'lr'"),
        ((None, 0.1, 0.2), {}, "SGD: too many positional arguments"),
        ((), {"lrr": 0.1}, "SGD has no setting 'lrr'; it has lr, weight_decay, clip_norm"),
    ],
)
def test_arguments_that_do_not_fit(values: Any, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        gn.SGD(*values, **given)


# One's own


class Own(gn.Momentum):
    limits: tuple[float, float] = (0.5, 2.0)
    _: KW_ONLY
    power: float = 2.0
    quick: bool = False
    note: ClassVar[str] = "no setting"


def test_a_subclass_adds_settings_after_those_it_inherits() -> None:
    names = list(inspect.signature(Own).parameters)
    assert names[:4] == ["parameters", "lr", "momentum", "limits"]
    assert names[4:7] == ["power", "quick", "weight_decay"]
    assert Own(None, 0.1, 0.5, (1, 2)).limits == (1.0, 2.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"power": float("nan")}, "power must be a number that is finite"),
        ({"power": "2"}, "power must be a number"),
        ({"limits": 1.0}, "limits must be two numbers"),
        ({"quick": 1.0}, "quick must be True or False"),
    ],
)
def test_a_setting_of_another_name_is_checked_by_its_default(given: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Own(**given)


def test_a_setting_needs_a_default() -> None:
    with pytest.raises(TypeError, match="Bare: the setting 'power' needs a default"):
        type("Bare", (gn.SGD,), {"__annotations__": {"power": "float"}})


def test_an_optimizer_whose_file_is_missing() -> None:
    def reference(grad: Any, lr: Any, param: Any) -> None: ...

    with pytest.raises(FileNotFoundError, match=r"Lost has no file .*lost\.cu; name it: cuda ="):
        type("Lost", (gn.Optimizer,), {"reference": staticmethod(reference)})


def test_derived_names_what_there_is() -> None:
    def derived(t: int, gamma: float) -> dict[str, float]: ...

    with pytest.raises(TypeError, match=r"Asking\.derived asks for 'gamma', which is no setting"):
        type("Asking", (gn.SGD,), {"derived": staticmethod(derived)})


def test_a_constructor_of_ones_own_is_shown() -> None:
    class Fixed(gn.Adam):
        def __init__(self, parameters: Any, calm: float = 1.0) -> None:
            super().__init__(parameters, lr=1e-3 / calm)

    assert list(inspect.signature(Fixed).parameters) == ["parameters", "calm"]
    assert Fixed([one()], calm=10).lr == 1e-4


# What type checkers see


def test_the_stub_names_every_optimizer() -> None:
    again = "python -m tests.tools.make_stub"
    assert make_stub.STUB.read_text("utf-8") == make_stub.text(), f"write it again: {again}"


USE = """
import gpunet as gn

class Mine(gn.Optimizer):
    lr: gn.schedules.Rate = 0.1
    decay_rate: float = 0.5

gn.Adam([], 0.1, (0.9, 0.9), eps_root=0.5, clip_norm=1.0, weight_decay=0.1)
gn.Adam([], betta=(0.9, 0.9))  # wrong
gn.AdamW([], 0.1, (0.9, 0.9), 1e-8, 0.1)  # wrong
gn.optim.SGD(lr="0.1")  # wrong
Mine(lr=gn.schedules.constant(0.1), decay_rate=0.1)
Mine([], decay_rat=0.1)  # wrong
gn.COCOB().alpha + 1.0
gn.COCOB().alhpa  # wrong
gn.OPTIMIZERS["adam"]([], lr=0.1).lr = 0.2
"""


def test_a_type_checker_catches_a_misspelt_keyword(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "use.py"
    file.write_text(USE)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = [n for n, line in enumerate(USE.splitlines(), 1) if "# wrong" in line]
    found = [int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line]
    assert found == wrong, done.stdout + done.stderr
    assert 'did you mean "betas"' in done.stdout

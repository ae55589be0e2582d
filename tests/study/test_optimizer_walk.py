"""gpunet.study.optimizer_walk: the worked steps of the notes, and every optimizer's."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.optimizer_walk import OptimizerWalk
from tests.console import Run, assert_one_line


def test_momentum_lengthens_the_second_step_by_what_is_left_of_the_first() -> None:
    """Gradients 5 then 3, rate 0.1: 0.9 * 0.5 = 0.45 is added to plain SGD's 0.3."""
    plain = gn.study.optimizer("sgd", [5, 3], lr=0.1)
    heavy = gn.study.optimizer("momentum", [5, 3], lr=0.1)
    assert [u.step for u in plain.updates] == pytest.approx([-0.5, -0.3])
    assert [u.step for u in heavy.updates] == pytest.approx([-0.5, -0.75])
    assert [u.state["velocity"] for u in heavy.updates] == pytest.approx([-0.5, -0.75])
    assert [u.rate for u in heavy.updates] == pytest.approx([0.1, 0.25])
    none = gn.study.optimizer("momentum", [5, 3], lr=0.1, momentum=0.0)
    assert [u.step for u in none.updates] == [u.step for u in plain.updates]


def test_adagrad_s_rate_only_falls_and_rmsprop_s_rises_again() -> None:
    gradients = [4.0, 4.0, 0.1, 0.1, 0.1, 0.1]
    falls = [u.rate for u in gn.study.optimizer("adagrad", gradients, lr=1.0).updates]
    assert all(a >= b for a, b in pairwise(falls))
    assert falls[0] == pytest.approx(1 / 4)
    rises = [u.rate for u in gn.study.optimizer("rmsprop", gradients, lr=1.0, rho=0.5).updates]
    assert rises[1] < rises[0]
    assert all(a < b for a, b in pairwise(rises[1:]))


@pytest.mark.parametrize("beta2", [0.99, 0.999])
def test_adam_s_corrections_take_the_zeros_of_the_start_away(beta2: float) -> None:
    """Of a constant gradient both corrected averages are it and its square from the first step."""
    walk = gn.study.optimizer("adam", [5.0] * 4, lr=0.1, betas=(0.9, beta2))
    for t, u in enumerate(walk.updates, 1):
        assert u.state["m / correction1"] == pytest.approx(5)
        assert u.state["v / correction2"] == pytest.approx(25)
        assert u.scalars["correction2"] == pytest.approx(1 - beta2**t)
        assert u.state["v"] == pytest.approx(25 * (1 - beta2**t))
        assert u.step == pytest.approx(-0.1)


@pytest.mark.parametrize("name", gn.OPTIMIZERS)
def test_every_optimizer_as_it_trains(name: str) -> None:
    gradients = [5.0, 3.0, -1.0, 0.0, 2.0]
    walk = gn.study.optimizer(name, gradients, param=1.5)
    p = gn.Parameter(np.array([1.5]))
    one = gn.OPTIMIZERS[name]([p])
    for u, gradient in zip(walk.updates, gradients, strict=True):
        p.grad = np.array([gradient])
        one.step()
        assert u.param == p.data[0]
        assert (u.rate * -u.grad == pytest.approx(u.step)) if gradient else math.isnan(u.rate)
        slots = one.state_dict()["state"]
        kept = {k: v[0].item() for k, v in slots.items() if v[0] is not None}
        assert u.state.items() >= kept.items()
        assert set(u.scalars) <= {*one.kernel.row_names, "correction1", "correction2"}
    assert sum(u.step for u in walk.updates) == pytest.approx(walk.updates[-1].param - 1.5)
    table = str(walk).splitlines()
    assert len(table[-1].split("  ")) > 4
    assert walk.formula in str(walk)


def test_a_schedule_and_what_stays(tmp_path: Path) -> None:
    walk = gn.study.optimizer(gn.SGD, [1, 1, 1], lr=gn.schedules.step(0.1, 2))
    assert [u.scalars["lr"] for u in walk.updates] == pytest.approx([0.1, 0.1, 0.01])
    assert "lr" in walk.rows()[0]
    assert gn.study.optimizer(gn.SGD, [1, 1], lr=0.1).fixed == {"lr": 0.1}
    walk.save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "param -= lr * grad" in text
    assert text.count("<tr>") == 4
    assert "http" not in text.replace("http://www.w3.org", "")
    assert walk._repr_html_().count("<tr>") == 4


@pytest.mark.parametrize(
    ("arguments", "settings", "error"),
    [
        (("adm", [1]), {}, "no optimizer 'adm'"),
        (("adam", []), {}, "finite numbers"),
        (("adam", [math.nan]), {}, "finite numbers"),
        (("adam", [[1, 2]]), {}, "finite numbers"),
        (("adam", [1], math.inf), {}, "finite numbers"),
        (("adam", [1]), {"lr": -1}, "lr"),
        (("adam", [1]), {"beta": 0.9}, "Adam has no setting 'beta'"),
        (("cocob", [1]), {"lr": 0.9}, "COCOB has no setting 'lr'"),
    ],
)
def test_refused(arguments: Any, settings: Any, error: str) -> None:
    with pytest.raises((ValueError, TypeError), match=error):
        gn.study.optimizer(*arguments, **settings)


# The command


def test_the_command(gpunet: Run) -> None:
    found = gpunet("study", "optimizer", "Momentum", "--gradients", "5,3", "--lr", "0.1")
    assert (found.code, found.err) == (0, "")
    assert re.search(r"^2 +3 +-0.75 +0.25 +-0.75 +-1.25$", found.out, re.MULTILINE)
    assert Path("gpunet-out/momentum.html").read_text("utf-8").startswith("<!doctype html>")
    options = ["--set", "betas=0.5,0.75", "--set", "eps_hat=true", "--param", "-2"]
    found = gpunet("study", "optimizer", "adam", *options)
    assert "beta1 = 0.5, beta2 = 0.75" in found.out
    walk = gn.study.optimizer("adam", [5, 3, -1], -2, betas=(0.5, 0.75), eps_hat=True)
    assert isinstance(walk, OptimizerWalk)
    assert str(walk) in found.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["adm"], "unknown optimizer 'adm'; did you mean adam"),
        (["adam", "--gradients", "1,x"], "'x' is no finite number"),
        (["adam", "--gradients", ""], "'' is no finite number"),
        (["adam", "--set", "beta"], "'beta' is no setting, such as alpha=0.9"),
        (["adam", "--set", "beta1=0.9"], "Adam has no setting 'beta1'"),
        (["adam", "--set", "betas=0.9"], "betas"),
        (["cocob", "--lr", "1"], "COCOB has no setting 'lr'"),
        (["sgd", "--lr", "-1"], "no learning rate"),
    ],
)
def test_mistakes(gpunet: Run, options: list[str], message: str) -> None:
    assert_one_line(gpunet("study", "optimizer", *options), message)

"""gpunet.study.paths: what the source notes say of the optimizers, with numbers.

Where the notes' own numbers do not hold, the true ones are here and the comment says so.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.paths import Descent, descend, longest_first
from gpunet.study.rates import default_lr

BOWL, WELLS, SINC = LANDSCAPES["bowl"], LANDSCAPES["wells"], LANDSCAPES["sinc"]
SADDLE, PLATEAU = LANDSCAPES["saddle"], LANDSCAPES["plateau"]
ABS, ABS10 = LANDSCAPES["abs"], LANDSCAPES["abs10"]


def turns(x: np.ndarray) -> int:
    """How often the sign changes from one number to the next."""
    return int((np.diff(np.sign(x)) != 0).sum())


def overshoot(path: Descent, axis: int = 0) -> float:
    """How far beyond 0 it gets, from where it started."""
    return float((-np.sign(path.points[0, axis]) * path.points[:, axis]).max())


# The anisotropic bowl


def test_sgd_zigzags_where_momentum_swings() -> None:
    sgd = descend(BOWL, "sgd", (-7, 2), lr=0.95, steps=40)
    momentum = descend(BOWL, "momentum", (-7, 2), lr=0.1, steps=40)
    assert turns(sgd.points[:, 1]) == 40  # every step crosses the valley
    assert turns(momentum.points[:, 1]) == 6
    lengths = [np.linalg.norm(path.steps, axis=1).sum() for path in (sgd, momentum)]
    assert lengths == pytest.approx([38.06, 13.85], abs=0.01)


@pytest.mark.parametrize("lr", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("start", BOWL.starts)
def test_nesterov_overshoots_less_than_momentum(lr: float, start: tuple[float, ...]) -> None:
    momentum, nesterov = (
        descend(BOWL, name, start, lr=lr, steps=60) for name in ("momentum", "nesterov")
    )
    assert 0 < overshoot(nesterov) < 0.8 * overshoot(momentum)


def test_nesterov_and_momentum_in_numbers() -> None:
    momentum, nesterov = (descend(BOWL, k, (-7, 2), lr=0.1) for k in ("momentum", "nesterov"))
    assert overshoot(momentum) == pytest.approx(1.0721, abs=1e-4)
    assert overshoot(nesterov) == pytest.approx(0.8438, abs=1e-4)


# 10 sin(x)/x from x = 2, 16 values with the start (so 15 updates), as the notes count


def test_sinc_descends_with_a_small_rate() -> None:
    path = descend(SINC, "sgd", (2,), lr=0.01, steps=16)
    assert path.values[15] == pytest.approx(1.821, abs=5e-4)
    assert path.values[16] == pytest.approx(1.661, abs=5e-4)  # the notes' 16 counts the start
    assert (np.diff(path.values) < 0).all()


def test_sinc_ends_in_a_swing_between_two_points() -> None:
    path = descend(SINC, "sgd", (2,), lr=1.1, steps=1000)
    assert path.values[14:16] == pytest.approx([-1.200, -1.674], abs=5e-4)
    assert path.values[-2:] == pytest.approx([-1.6740, -1.1984], abs=5e-5)
    assert len(np.unique(path.values[-500:].round(9))) == 2


def test_sinc_with_a_larger_rate_ends_among_four_points() -> None:
    """The notes say that it wanders between -0.43 and -1.90: so it seems after 16 values, but it is
    on its way into a cycle of four."""
    path = descend(SINC, "sgd", (2,), lr=1.2, steps=1000)
    assert path.values[13:15] == pytest.approx([-0.431, -1.903], abs=5e-4)
    cycle = np.unique(path.values[-500:].round(9))
    assert cycle == pytest.approx([-1.9156, -1.4985, -1.3885, -0.4153], abs=5e-5)
    assert np.ptp(path.values[200:]) < 1.51


# Saddles and local minima


@pytest.mark.parametrize("name", ["saddle", "bounded-saddle"])
def test_sgd_stops_at_a_saddle_when_started_on_its_axis(name: str) -> None:
    path = descend(LANDSCAPES[name], "sgd", (-1.5, 0), lr=0.1, steps=200)
    assert np.abs(path.points[-1]).max() < 1e-15
    assert (path.points[:, 1] == 0).all()


def test_an_inflection_point_holds_sgd_up_and_momentum_rolls_over_it() -> None:
    """From the left the slope 4 x^2 (x - 1) fades as x^2: SGD's distance to 0 only falls as 1/t."""
    flat = LANDSCAPES["inflection"]
    sgd = descend(flat, "sgd", (-0.6,), lr=0.05, steps=1000).points[:, 0]
    assert (np.diff(sgd) > 0).all()
    assert -0.01 < sgd[-1] < 0
    assert 1000 * sgd[-1] == pytest.approx(-1 / (4 * 0.05), rel=0.05)
    momentum = descend(flat, "momentum", (-0.6,), lr=0.05, steps=1000).points[:, 0]
    assert momentum[-1] == pytest.approx(1, abs=1e-6)


def test_momentum_without_decay_never_settles() -> None:
    """On a slope that stays its velocity is lr times the steps; in a bowl it swings for ever."""
    walk = gn.study.optimizer("momentum", [1.0] * 100, lr=0.1, momentum=1.0)
    assert [-u.step for u in walk.updates] == pytest.approx(0.1 * np.arange(1, 101))
    heights = descend(BOWL, "momentum", (-7, 2), lr=0.1, steps=4000, momentum=1.0).values
    settled = descend(BOWL, "momentum", (-7, 2), lr=0.1, steps=4000).values
    assert heights[-200:].max() > 0.9 * heights[0]
    assert settled[-200:].max() < 1e-20


def test_no_optimizer_leaves_the_axis() -> None:
    for name in gn.OPTIMIZERS:
        assert (descend(SADDLE, name, (-1.5, 0), steps=100).points[:, 1] == 0).all(), name


def test_beside_the_axis_the_others_leave_the_saddle_sooner() -> None:
    def leaves(name: str) -> int:
        path = descend(SADDLE, name, (-1.5, 1e-3), lr=0.02, steps=400)
        return int(np.argmax(np.abs(path.points[:, 1]) > 1))

    found = {name: leaves(name) for name in ("sgd", "momentum", "nesterov", "adam", "rmsprop")}
    assert found == {"sgd": 177, "momentum": 46, "nesterov": 42, "adam": 44, "rmsprop": 6}


def test_sgd_stays_in_the_local_minimum_that_momentum_leaves() -> None:
    glob, local = WELLS.minima
    for lr in (0.01, 0.02, 0.05):
        sgd = descend(WELLS, "sgd", (1.7,), lr=lr, steps=500)
        momentum = descend(WELLS, "momentum", (1.7,), lr=lr, steps=500)
        assert sgd.points[-1] == pytest.approx(local, abs=1e-6)
        assert momentum.points[-1] == pytest.approx(glob, abs=1e-6)
    weak = descend(WELLS, "momentum", (1.3,), lr=0.02, steps=500)  # too little height to start from
    assert weak.points[-1] == pytest.approx(local, abs=1e-6)


def test_a_plateau_stops_sgd_and_not_adam() -> None:
    away = {k: np.linalg.norm(descend(PLATEAU, k).points[-1]) for k in ("sgd", "adam")}
    assert away["sgd"] > 3.3  # of 3.6
    assert away["adam"] < 0.5


# Learning rates of their own


def test_adagrads_effective_step_shrinks_to_nothing() -> None:
    """Where the gradient stays (|x| has slope 1 everywhere) as 1 / sqrt(t)."""
    path = descend(ABS, "adagrad", (2.5,), lr=0.5, steps=1000)
    t = np.arange(1, 1001)
    np.testing.assert_allclose(path.effective_lr[:, 0], 0.5 / np.sqrt(t), rtol=1e-7)


def test_rmsprops_effective_step_recovers_where_adagrads_does_not() -> None:
    """On the bowl the gradient dies down. AdaGrad never forgets the large ones at the start."""
    adagrad, rmsprop = (
        descend(BOWL, name, (-7, 2), lr=lr, steps=200).effective_lr[:, 0]
        for name, lr in (("adagrad", 1.5), ("rmsprop", 0.09))
    )
    assert (np.diff(adagrad) <= 1e-12).all()
    assert [adagrad[0], adagrad[-1]] == pytest.approx([2.1429, 1.1763], abs=1e-4)
    low = int(rmsprop.argmin())
    assert 10 < low < 40
    assert [rmsprop[0], rmsprop[low], rmsprop[-1]] == pytest.approx([1.286, 0.559, 1.31], abs=0.01)


def test_rmsprop_goes_to_rprop_as_rho_goes_to_zero() -> None:
    """Only the sign is left of the gradient: the rest is what each step differs from lr by."""

    def rest(rho: float) -> float:
        path = descend(BOWL, "rmsprop", (-7, 2), lr=0.1, steps=15, rho=rho)
        return float(np.abs(path.steps + 0.1 * np.sign(path.gradients)).max())

    found = [rest(rho) for rho in (0.99, 0.9, 0.5, 0.1, 0.01, 0.0)]
    assert found == pytest.approx([0.9, 0.2162, 0.0414, 5.41e-3, 5.04e-4, 0], rel=2e-3, abs=1e-8)


def test_rmsprop_without_memory_is_rprop_of_a_constant_step() -> None:
    """Until a gradient turns: RProp (iRprop-) then rests for one step."""
    one = descend(BOWL, "rmsprop", (-7, 2), lr=0.1, steps=20, rho=0.0)
    two = descend(BOWL, "rprop", (-7, 2), lr=0.1, steps=20, etas=(1 - 1e-12, 1 + 1e-12))
    np.testing.assert_allclose(one.points, two.points, atol=1e-7)


def test_cocob_needs_no_learning_rate() -> None:
    """It finds |x - 10| from 0, and a minimum a hundred times as far in a few steps more; SGD needs
    a rate that knows the distance."""
    path = descend(ABS10, "cocob", (0,), steps=1000)
    assert path.lr is None
    assert int(np.argmax(path.points > 10)) == 29
    assert path.points.max() == pytest.approx(14.0, abs=0.01)
    late = [np.abs(path.points[n : n + 100] - 10).max() for n in (100, 400, 900)]
    assert late == pytest.approx([4.0, 2.2, 1.55], abs=0.05)  # swings die down by 1 / sqrt(t)

    far = replace(ABS10, function=lambda p: (p[..., 0] - 1000).abs())
    assert int(np.argmax(descend(far, "cocob", (0,), steps=100).points > 1000)) == 43
    assert descend(ABS10, "sgd", (0,), lr=0.001, steps=1000).points.max() == pytest.approx(1)


def test_cocobs_way_does_not_depend_on_the_gradients_size() -> None:
    steep = replace(ABS10, function=lambda p: 1e4 * (p[..., 0] - 10).abs())
    one, two = (descend(k, "cocob", (0,), steps=200).points for k in (ABS10, steep))
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_five_then_three() -> None:
    """Gradients 5, then 3, lr 0.1, momentum 0.9: the second step is 0.45 longer than SGD's."""
    moved = {}
    for kind in (gn.SGD, gn.Momentum):
        w = gn.Parameter(np.zeros(1))
        opt = kind([w], lr=0.1)
        before = []
        for gradient in (5.0, 3.0):
            before.append(w.data.item())
            w.grad = np.array([gradient])
            opt.step()
        moved[kind] = np.diff([*before, w.data.item()])
    assert moved[gn.SGD] == pytest.approx([-0.5, -0.3])
    assert moved[gn.Momentum] == pytest.approx([-0.5, -0.75])
    assert moved[gn.Momentum][1] - moved[gn.SGD][1] == pytest.approx(-0.45)


# The machinery


def test_a_path_is_what_a_loop_by_hand_gives() -> None:
    path = descend(BOWL, "adam", (-7, 2), lr=0.3, steps=5)
    w = gn.Parameter(np.array([-7.0, 2.0]))
    opt = gn.Adam([w], lr=0.3)
    for k in range(5):
        gradient = np.array([w.data[0] / 10, 2 * w.data[1]])
        np.testing.assert_allclose(path.points[k], w.data, rtol=1e-14)
        np.testing.assert_allclose(path.gradients[k], gradient, rtol=1e-14)
        assert path.values[k] == pytest.approx(w.data[0] ** 2 / 20 + w.data[1] ** 2)
        w.grad = gradient
        opt.step()
    np.testing.assert_allclose(path.points[5], w.data, rtol=1e-14)
    assert (len(path), path.points.shape, path.values.shape) == (5, (6, 2), (6,))
    assert path.points.dtype == path.values.dtype == path.gradients.dtype == np.float64
    assert (path.optimizer, path.lr, path.diverged) == ("adam", 0.3, False)


def test_effective_lr_is_sgds_lr_and_nan_without_a_gradient() -> None:
    path = descend(SADDLE, "sgd", (-1.5, 0), lr=0.1, steps=3)
    np.testing.assert_allclose(path.effective_lr[:, 0], 0.1)
    assert np.isnan(path.effective_lr[:, 1]).all()


def test_a_diverging_path_ends_at_its_last_finite_point() -> None:
    path = descend(BOWL, "sgd", (-7, 2), lr=3.0, steps=2000)
    assert path.diverged
    assert 200 < len(path) < 250
    assert len(path.points) == len(path.values) == len(path.gradients) + 1
    for numbers in (path.points, path.values, path.gradients):
        assert np.isfinite(numbers).all()
    assert not descend(BOWL, "sgd", (-7, 2), lr=3.0, steps=200).diverged


def test_the_longest_path_is_drawn_first() -> None:
    far = descend(BOWL, "sgd", lr=3.0, steps=2000)
    paths = [descend(BOWL, "adam"), far, descend(BOWL, "sgd"), descend(BOWL, "rmsprop")]
    assert longest_first(paths) == [far, paths[2], paths[0], paths[3]]


def test_no_steps_is_the_start_alone() -> None:
    path = descend(BOWL, "sgd", steps=0)
    assert path.points.tolist() == [[-7.0, 2.0]]
    assert path.gradients.shape == (0, 2)


@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
def test_default_rates_go_down_and_stay_in_the_picture(landscape: Landscape) -> None:
    low, high = np.array(landscape.window).T
    for name in gn.OPTIMIZERS:
        path = descend(landscape, name)
        inside = ((path.points >= low) & (path.points <= high)).all(axis=1)
        assert not path.diverged, name
        assert inside.all() or not landscape.minima, name
        assert path.values.min() < path.values[0], name
        distance = np.linalg.norm(path.points - path.points[0], axis=1).max()
        assert distance > 0.01 * (high - low).max(), name


def test_a_landscape_of_ones_own_gets_rates_that_fit_its_window() -> None:
    own = Landscape(
        name="own",
        formula="1000 x²",
        function=lambda p: 1000 * p[..., 0] ** 2,
        minima=((0.0,),),
        window=((-8, 8),),
        starts=((5.0,),),
        steps=50,
        lesson="",
        source="",
    )
    assert default_lr(own, "adam") == pytest.approx(0.4)
    assert np.abs(descend(own, "sgd").steps[0]) == pytest.approx(0.4)
    for name in gn.OPTIMIZERS:
        assert descend(own, name).values.min() < 25_000
    flat = replace(own, function=lambda p: 0 * p[..., 0])
    assert default_lr(flat, "sgd") == 1.0
    assert default_lr(own, "cocob") is None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"optimizer": "adma"}, ValueError, "unknown optimizer 'adma'; there are sgd, momentum"),
        ({"optimizer": "cocob", "lr": 0.1}, ValueError, "cocob has no learning rate"),
        ({"start": (1,)}, ValueError, r"a start on bowl is 2 numbers, got \[1.0\]"),
        ({"start": (math.inf, 0)}, ValueError, "no finite value at the start"),
        ({"start": (1e200, 0)}, ValueError, "no finite value at the start"),
        ({"lr": -1}, ValueError, "lr must be a number at least 0"),
        ({"momentum": 0.5}, TypeError, "SGD has no setting 'momentum'"),
    ],
)
def test_mistakes(settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        descend(BOWL, **({"optimizer": "sgd"} | settings))

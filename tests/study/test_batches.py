"""gpunet.study.batches and step_noise: what a batch size costs and how noisy its steps are."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.batches import Batches, batches
from gpunet.study.pictures import can_plot
from gpunet.study.step_noise import row_gradients, step_noise
from tests.console import Run, assert_one_line


@pytest.fixture(scope="module")
def found() -> Batches:
    return batches((4, 64))


def test_a_larger_batch_costs_memory_and_gets_less_far_in_an_epoch(found: Batches) -> None:
    memory = [run.memory for run in found.trainings]
    assert memory == sorted(memory)
    losses = [row[-1] for row in found.tables()[0].rows]
    assert losses == sorted(losses)
    assert [run.an_epoch for run in found.trainings] == [240, 15, 1]


def test_the_loss_swings_less_with_a_larger_batch(found: Batches) -> None:
    swings = list(found.swings.values())
    assert swings[0] > 3 * swings[1] > 9 * swings[2]


def test_the_callers_random_state_stays(found: Batches) -> None:
    gn.seed(3)
    first = gn.MLP([2, 2]).parameters()[0].data.copy()
    gn.seed(3)
    batches(())
    assert np.array_equal(gn.MLP([2, 2]).parameters()[0].data, first)


def test_the_gradients_of_rows_have_the_batchs_as_their_mean() -> None:
    model, loss = gn.MLP([4, 3, 2], dtype=np.float64), gn.SoftmaxWithLoss()
    x, t = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 1, 0, 1, 0])
    rows = row_gradients(model, loss, x, t)
    for p in model.parameters():
        p.grad = None
    loss(model(x), t).backward()
    whole = np.concatenate([p.grad.ravel() for p in model.parameters()])
    assert rows.mean(axis=0) == pytest.approx(whole)


def test_the_variance_falls_with_the_batch_and_with_momentum() -> None:
    rows = 1 + np.random.default_rng(0).standard_normal((500, 20))
    table = step_noise(rows, (1, 8, 32)).rows
    for size, variance, smaller, steadied in table:
        assert variance == pytest.approx(1 / size, rel=0.2)
        assert smaller == pytest.approx(size, rel=0.2)
        assert steadied == pytest.approx(variance / 19, rel=0.4)


@pytest.mark.skipif(not can_plot(), reason="needs matplotlib")
def test_the_picture_has_a_line_for_each(found: Batches) -> None:
    assert len(found.draw().axes[0].lines) == len(found.trainings)


def test_sizes_that_are_none(gpunet: Run) -> None:
    assert_one_line(gpunet("study", "batches", "--sizes", "1000"), "a batch holds 1 to 960 rows")
    assert_one_line(gpunet("study", "batches", "--sizes", "8,0"), "'8,0' is no list of whole")

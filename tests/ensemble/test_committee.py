"""What the models of an ensemble say together, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.ensemble.committee import average, vote

LOGITS = np.log(
    [
        [[0.6, 0.3, 0.1], [0.4, 0.5, 0.1]],
        [[0.5, 0.4, 0.1], [0.8, 0.1, 0.1]],
        [[0.1, 0.8, 0.1], [0.2, 0.1, 0.7]],
    ]
)  # (models, rows, classes)


def test_the_mean_of_probabilities(device: str) -> None:
    expected = np.exp(LOGITS).mean(axis=0)
    for loss in (gn.SoftmaxWithLoss(), gn.KLDivergence()):
        found = average(to_device(LOGITS + 7, device), loss)  # logits have no zero of their own
        np.testing.assert_allclose(to_host(found), expected, rtol=1e-12)
    odds = to_device(np.array([[[0.0]], [[np.log(3)]]]), device)
    np.testing.assert_allclose(to_host(average(odds, gn.SigmoidWithLoss())), [[0.625]])
    numbers = average(to_device(LOGITS, device), gn.MeanSquaredError())
    np.testing.assert_allclose(to_host(numbers), LOGITS.mean(axis=0))


def test_the_majority_and_a_tie(device: str) -> None:
    """Of the first row by two votes to one against the mean; of the second the mean decides."""
    found = to_host(vote(to_device(LOGITS, device), gn.SoftmaxWithLoss()))
    assert np.exp(LOGITS).mean(axis=0).argmax(axis=-1).tolist() == [1, 0]
    assert found.tolist() == [0, 0]
    assert to_host(vote(to_device(LOGITS[1:], device), gn.SoftmaxWithLoss())).tolist() == [1, 0]


@pytest.mark.parametrize("loss", [gn.MeanSquaredError(), gn.Huber(), gn.SigmoidWithLoss()])
def test_numbers_have_no_votes(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"has no classes to vote for; see average\(x\)"):
        vote(LOGITS, loss)


def test_of_some_models() -> None:
    ensemble = gn.Ensemble(gn.MLP([4, 5, 3]), 3, progress=False)
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    whole = ensemble.predict(x)
    np.testing.assert_array_equal(ensemble.predict(x, of=[2, 0]), whole[[2, 0]])
    np.testing.assert_array_equal(
        ensemble.average(x, of=[1]), average(whole[1:2], gn.SoftmaxWithLoss())
    )
    assert ensemble.vote(x, of=np.array([1])).tolist() == whole[1].argmax(axis=1).tolist()
    wrong: list[tuple[Any, Any]] = [
        ([], ValueError), ([3], IndexError), (1, TypeError), ([0.5], TypeError)
    ]  # fmt: skip
    for of, error in wrong:
        with pytest.raises(error, match=r"of:|integer"):
            ensemble.predict(x, of=of)

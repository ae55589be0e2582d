"""gpunet.train.feed: data checked, converted and moved once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_host
from gpunet.train.feed import Feed

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def feed(x: Any, t: Any, loss: Any = None, outputs: int = 3, device: str = "cpu") -> Feed:
    model = gn.Sequential(gn.Affine(2, outputs)).to(device)
    return Feed((x, t), model, loss or gn.SoftmaxWithLoss(), "train")


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "uint8", "int64", "bool"])
def test_floats_become_the_models(kind: str, device: str) -> None:
    found = feed(X.astype(kind), LABELS.astype("uint8"), device=device)
    assert found.x.dtype == ("float32" if kind.startswith("float") else kind)
    assert found.t.dtype == "uint8"
    assert device_of(found.x) == device_of(found.t) == device
    np.testing.assert_array_equal(to_host(found.x), X.astype(kind))


def test_a_model_of_two_dtypes_gets_what_was_given() -> None:
    model = gn.Sequential(gn.Affine(2, 3, dtype="float64"), gn.Affine(3, 3))
    assert Feed((X, LABELS), model, gn.SoftmaxWithLoss(), "train").x.dtype == "float64"


def test_data_that_is_there_already_is_not_copied(xp: Any, device: str) -> None:
    x, t = xp.asarray(X, xp.float32), xp.asarray(LABELS)
    found = feed(x, t, device=device)
    assert found.x is x
    assert found.t is t


def test_data_may_come_from_the_other_device(xp: Any) -> None:
    found = feed(xp.asarray(X), xp.asarray(LABELS), device="cpu")
    assert type(found.x) is type(found.t) is np.ndarray


@pytest.mark.parametrize(
    "data",
    [
        [X.tolist(), LABELS.tolist()],
        (gn.Tensor(X), gn.Tensor(LABELS)),
        SimpleNamespace(x=X, t=LABELS),
    ],
)
def test_kinds_of_data(data: Any) -> None:
    model = gn.Sequential(gn.Affine(2, 3))
    found = Feed(data, model, gn.SoftmaxWithLoss(), "train")
    assert len(found) == 6
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.t, LABELS)


def test_rows_and_moved(device: str) -> None:
    found = feed(X, LABELS, device=device)
    one, two = found.moved([np.array([4, 0, 2]), np.array([1])])
    assert device_of(one) == device
    assert [to_host(one).tolist(), to_host(two).tolist()] == [[4, 0, 2], [1]]
    x, t = found.rows(one)
    np.testing.assert_array_equal(to_host(x), X[[4, 0, 2]])
    np.testing.assert_array_equal(to_host(t), LABELS[[4, 0, 2]])


def test_the_first_bad_number_is_named(device: str) -> None:
    model = gn.Sequential(gn.Affine(2, 3)).to(device)
    x = X.copy()
    x[4, 1] = x[5, 0] = np.nan
    with pytest.raises(ValueError, match=r"^valid: x holds nan in row 4, column 1, no finite"):
        Feed((gn.to_device(x, device), LABELS), model, gn.SoftmaxWithLoss(), "valid")
    x = X.copy()
    x[2, 0] = 1e39
    with pytest.raises(ValueError, match=r"x holds 1e\+39 in row 2, column 0, no finite float32"):
        Feed((x, LABELS), model, gn.SoftmaxWithLoss(), "valid")


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_binary_targets_lie_between_0_and_1(value: float, device: str) -> None:
    t = np.array([0, 1, 0.5, 0, 1, value])
    for loss in (gn.SigmoidWithLoss(), gn.sigmoid_cross_entropy):
        with pytest.raises(ValueError, match=f"target {value} in row 5 is out of range"):
            feed(X, t, loss, 1, device)
        assert len(feed(X, np.clip(t, 0, 1), loss, 1, device)) == 6


@pytest.mark.parametrize("loss", [gn.SoftmaxWithLoss(), gn.softmax_cross_entropy])
def test_labels_out_of_range(loss: Any, device: str) -> None:
    with pytest.raises(ValueError, match="label 2 in row 2 is out of range: the model has 2 out"):
        feed(X, LABELS, loss, 2, device)


def test_whole_numbers_that_are_no_labels(device: str) -> None:
    assert len(feed(X, LABELS * 50, lambda z, t: (z.sum(axis=1) - t).mean(), 3, device)) == 6


def test_trying_changes_nothing() -> None:
    model = gn.Sequential(gn.BatchNorm(2), gn.Dropout(0.5), gn.Affine(2, 3))
    model[0].eval()
    Feed((X, LABELS), model, gn.SoftmaxWithLoss(), "train")
    assert (model[0].training, model[1].training, model.training) == (False, True, True)
    assert model[1].calls == 0
    assert not model[0].running_mean.any()
    assert model[2].W.grad is None

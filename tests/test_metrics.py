"""The metrics against scikit-learn's where it is installed, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet import metrics


def test_numbers_by_hand() -> None:
    t, y = np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 2.0, 4.0, 4.0])
    assert metrics.mae(t, y) == 0.75
    assert metrics.rmse(t, y) == pytest.approx(np.sqrt(5 / 4))
    assert metrics.r2(t, y) == pytest.approx(1 - 5 / 14)
    assert metrics.r2(t, np.full(4, 3.0)) == 0
    assert metrics.number_report(t, y) == "R2 0.6429, MAE 0.75, RMSE 1.118"


def test_targets_that_do_not_vary() -> None:
    t = np.full(3, 5.0)
    assert metrics.r2(t, t) == 1
    assert metrics.r2(t, t + 1) == 0


def test_classes_by_hand() -> None:
    t, y = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    matrix = metrics.confusion(t, y, 3)
    assert matrix.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    found = metrics.scores(matrix)
    np.testing.assert_allclose(found.precision, [2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(found.recall, [2 / 3, 1, 0])
    np.testing.assert_allclose(found.f1, [2 / 3, 0.8, 0])
    assert found.rows.tolist() == [3, 2, 1]
    assert metrics.accuracy(t, y) == pytest.approx(4 / 6)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes_are_as_scikit_learn_counts_them(classes: int) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(classes)
    t, y = rng.integers(0, classes, (2, 50))
    labels = range(classes)
    np.testing.assert_array_equal(
        metrics.confusion(t, y, classes), sk.confusion_matrix(t, y, labels=labels)
    )
    mine = metrics.scores(metrics.confusion(t, y, classes))
    options = {"labels": labels, "zero_division": 0}
    for own, other in zip(mine, sk.precision_recall_fscore_support(t, y, **options), strict=True):
        np.testing.assert_allclose(own, other)
    assert metrics.accuracy(t, y) == sk.accuracy_score(t, y)


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_numbers_are_as_scikit_learn_measures_them(shape: tuple[int, ...]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    t, y = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32) + 200_000
    exact = np.float64
    assert metrics.r2(t, y) == pytest.approx(sk.r2_score(t.astype(exact), y.astype(exact)))
    assert metrics.mae(t, y) == pytest.approx(sk.mean_absolute_error(t, y), rel=1e-4)
    assert metrics.rmse(t, y) == pytest.approx(np.sqrt(((t - y).astype(exact) ** 2).mean()))


def test_a_report_of_classes() -> None:
    t, y = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert metrics.class_report(t, y, ["no", "a very long name"]).splitlines() == [
        "accuracy 0.7500 of 4 rows",
        "",
        "              precision  recall     F1     rows",
        "no               1.0000  0.6667  0.8000       3",
        "a very lo...     0.5000  1.0000  0.6667       1",
        "mean             0.7500  0.8333  0.7333       4",
        "",
        "confusion (rows: true, columns: predicted)",
        "              no  a very lo...",
        "no             2             1",
        "a very lo...   0             1",
    ]


def test_of_many_classes_the_worst_are_shown() -> None:
    t = np.arange(100)
    y = np.where(t == 63, 0, t)
    lines = metrics.class_report(t, y, [f"c{k}" for k in range(100)]).splitlines()
    assert any(line.startswith("c63 ") for line in lines)
    assert "(the 20 classes of 100 with the lowest F1)" in lines
    assert not any("confusion" in line for line in lines)

"""gpunet.sklearn.inputs: CuPy arrays in, CuPy arrays out, and no copy to the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.testing import simgpu

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from gpunet.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = {MLPClassifier: np.where(X[:, 0] > X[:, 1], 8, 5), MLPRegressor: 7 * X[:, 0] + 200_000}
WEIGHT = RNG.integers(0, 3, 400).astype(float)
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 1}
BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
METHODS = {
    MLPClassifier: ("predict", "predict_proba", "predict_log_proba"),
    MLPRegressor: ("predict",),
}


@BOTH
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"batch_norm": True}])
def test_cupy_gives_what_numpy_gives(kind: Any, weight: Any, settings: Any, sim: Any) -> None:
    host = kind(**QUICK, **settings).fit(X, Y[kind], weight)
    x, y = sim.asarray(X), sim.asarray(Y[kind])
    w = None if weight is None else sim.asarray(weight)
    device = kind(**QUICK, **settings).fit(x, y, w)
    assert device.model_.device == "cuda"
    for method in METHODS[kind]:
        found = getattr(device, method)(x)
        assert isinstance(found, sim.ndarray)
        wanted = getattr(host, method)(X)
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(to_host(found), wanted, rtol=5e-3, atol=1e-3)
        assert isinstance(getattr(device, method)(X), np.ndarray)  # where its X lies
    assert device.score(x, y, w) == pytest.approx(host.score(X, Y[kind], weight), abs=1e-2)
    assert isinstance(getattr(device, "classes_", X), np.ndarray)


def copies(sim: Any, patch: pytest.MonkeyPatch, run: Callable[[], Any]) -> tuple[int, int]:
    """How many copies to the host `run` makes, and the most numbers that `asnumpy` takes there."""
    sizes, taken = [0], sim.asnumpy

    def noted(array: Any, *more: Any, **options: Any) -> Any:
        sizes.append(array.size)
        return taken(array, *more, **options)

    with patch.context() as inside, simgpu.count() as counters:
        inside.setattr(sim, "asnumpy", noted)
        run()
    return counters.d2h_copies, max(sizes)


@BOTH
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_only_single_numbers_come_to_the_host(
    kind: Any, weighted: bool, early: bool, sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many copies for ten times the rows, and none of them large: what is read are means,
    checks, the classes.
    """
    found = []
    for times in (1, 10):
        x = sim.asarray(np.tile(X, (times, 1)))
        y, w = sim.asarray(np.tile(Y[kind], times)), sim.asarray(np.tile(WEIGHT, times))
        model = kind(**QUICK, early_stopping=early, batch_size=None)

        def run(model: Any = model, x: Any = x, y: Any = y, w: Any = w) -> None:
            model.fit(x, y, w if weighted else None)
            for method in METHODS[kind]:
                getattr(model, method)(x)
            model.score(x, y)
            model.partial_fit(x, y)

        count, largest = copies(sim, monkeypatch, run)
        assert largest <= 8
        found.append(count)
    assert found[0] == found[1]


@BOTH
def test_the_counter_sees_a_copy(kind: Any, sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = sim.asarray(X)
    assert copies(sim, monkeypatch, lambda: sim.asnumpy(x)) == (1, X.size)


@BOTH
def test_numpy_on_the_gpu_when_it_is_asked_for(kind: Any, sim: Any) -> None:
    fitted = kind(**QUICK, device="cuda").fit(X, Y[kind], WEIGHT)
    assert fitted.model_.device == "cuda"
    assert isinstance(fitted.predict(X), np.ndarray)
    assert isinstance(fitted.predict(sim.asarray(X)), sim.ndarray)
    host = kind(**QUICK).fit(X, Y[kind])
    assert host.model_.device == "cpu"
    with pytest.raises(gn.backend.DeviceError, match="the network on the CPU; give a NumPy array"):
        host.predict(sim.asarray(X))
    with pytest.raises(gn.backend.DeviceError, match='X is on the GPU, and device="cpu"'):
        kind(**QUICK, device="cpu").fit(sim.asarray(X), sim.asarray(Y[kind]))


def test_labels_of_text_beside_rows_on_the_gpu(sim: Any) -> None:
    y = np.where(Y[MLPClassifier] == 8, "left", "right")
    fitted = MLPClassifier(**QUICK).fit(sim.asarray(X), y, WEIGHT)
    found = fitted.predict(sim.asarray(X))
    assert isinstance(found, np.ndarray)
    assert set(found) <= {"left", "right"}
    assert 0 <= fitted.score(sim.asarray(X), y) <= 1


BAD: dict[str, tuple[Any, str]] = {
    "one axis": (lambda cp, x, y: (x[:, 0], y), "X must have two axes"),
    "no rows": (lambda cp, x, y: (x[:0], y[:0]), "a row and a feature at least"),
    "nan": (lambda cp, x, y: (x * cp.nan, y), "X contains NaN or infinity"),
    "short": (lambda cp, x, y: (x, y[:5]), "X has 400 rows but y has 5"),
    "wide": (lambda cp, x, y: (x, cp.stack([y, y], axis=1)[:, None]), "y should be a 1d array"),
    "mixed": (lambda cp, x, y: (cp.asnumpy(x), y), "X is a NumPy array and y a CuPy array"),
}


@BOTH
@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_on_the_gpu(kind: Any, name: str, sim: Any) -> None:
    make, words = BAD[name]
    x, y = make(sim, sim.asarray(X), sim.asarray(Y[kind]))
    with pytest.raises(ValueError, match=words):
        kind(**QUICK).fit(x, y)


@BOTH
def test_other_features_than_in_fit(kind: Any, sim: Any) -> None:
    fitted = kind(**QUICK).fit(sim.asarray(X), sim.asarray(Y[kind]))
    with pytest.raises(ValueError, match=f"X has 3 features, but {kind.__name__} is expecting 4"):
        fitted.predict(sim.asarray(X[:, :3]))


def test_labels_on_the_gpu_that_are_no_classes(sim: Any) -> None:
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MLPClassifier(**QUICK).fit(sim.asarray(X), sim.asarray(X[:, 0]))
    fitted = MLPClassifier(**QUICK).fit(sim.asarray(X), sim.asarray(Y[MLPClassifier]))
    with pytest.raises(ValueError, match=r"no classes of this model: \[9\]"):
        fitted.partial_fit(sim.asarray(X), sim.full(400, 9))

"""gpunet.sklearn.base: settings, seeds, stopping, copies, of both estimators."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.optim import OPTIMIZERS

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gpunet.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = {MLPClassifier: np.where(X[:, 0] > X[:, 1], "yes", "no"), MLPRegressor: 7 * X[:, 0] + 200_000}
QUICK: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 1}
BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])


def outputs(fitted: Any) -> Any:
    return fitted.predict_proba(X) if hasattr(fitted, "predict_proba") else fitted.predict(X)


@BOTH
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(kind: Any, name: str) -> None:
    by_name = kind(optimizer=name, **QUICK).fit(X, Y[kind])
    made = OPTIMIZERS[name]
    for given in (made, made(), partial(made)):
        fitted = clone(kind(optimizer=given, **QUICK)).fit(X, Y[kind])
        np.testing.assert_array_equal(outputs(by_name), outputs(fitted))


def test_settings_of_an_optimizer() -> None:
    def made(**settings: Any) -> gn.Optimizer:
        return MLPClassifier(**QUICK, **settings).fit(X, Y[MLPClassifier])._trainer.optimizer

    found = made(optimizer=gn.AdamW(lr=0.02, betas=(0.8, 0.9), clip_norm=1), weight_decay=0.5)
    assert (found.lr, found.betas, found.clip_norm, found.weight_decay) == (
        0.02,
        (0.8, 0.9),
        1,
        0.5,
    )
    assert made(optimizer="sgd", lr=0.3).lr == 0.3
    schedule = gn.schedules.cosine(0.1, 50)
    assert made(optimizer="sgd", lr=schedule).lr is schedule


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "optimizer": ({"optimizer": "adamm"}, ValueError, "optimizer must be one of sgd"),
    "number": ({"optimizer": 3}, TypeError, "optimizer must be a name, a class or an optimizer"),
    "maker": ({"optimizer": lambda p, **k: 3}, TypeError, "must make an Optimizer, made a int"),
    "activation": ({"activation": "swish"}, ValueError, "activation must be one of relu"),
    "device": ({"device": "gpu"}, ValueError, 'device must be "auto", "cpu" or "cuda"'),
    "batch_size": ({"batch_size": "all"}, ValueError, 'batch_size must be "auto"'),
    "epochs": ({"max_iter": 0}, ValueError, "max_iter must be a whole number from 1"),
    "patience": ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be a whole number"),
    "share": ({"validation_fraction": 2, "early_stopping": True}, ValueError, r"in \[0, 1\]"),
    "hidden": ({"hidden_layer_sizes": (0,)}, ValueError, "each of sizes must be a whole number"),
    "half": ({"hidden_layer_sizes": 10.5}, ValueError, "each of sizes must be a whole number"),
    "dtype": ({"dtype": "float16"}, ValueError, "dtype must be float32 or float64"),
    "cocob": ({"optimizer": "cocob", "lr": 0.1}, TypeError, "no setting 'lr'"),
}


@BOTH
@pytest.mark.parametrize("name", BAD)
def test_bad_settings_leave_what_was_fitted(kind: Any, name: str) -> None:
    settings, error, words = BAD[name]
    fitted = kind(**QUICK).fit(X, Y[kind])
    before = outputs(fitted)
    fitted.set_params(**settings)
    with pytest.raises(error, match=words):
        fitted.fit(X, Y[kind])
    np.testing.assert_array_equal(outputs(fitted), before)


@BOTH
def test_before_fit(kind: Any) -> None:
    for method in ("predict", "score"):
        with pytest.raises(NotFittedError):
            getattr(kind(), method)(*[X, Y[kind]][: 1 + (method == "score")])
    for name in ("n_iter_", "loss_curve_", "history_", "loss_"):
        assert not hasattr(kind(), name)
    failing = kind(max_iter=0)
    with pytest.raises(ValueError, match="max_iter"):
        failing.fit(X, Y[kind])
    with pytest.raises(NotFittedError):
        failing.predict(X)


@BOTH
def test_no_generator_of_the_program_is_touched(kind: Any) -> None:
    np.random.seed(3)
    gn.seed(3)
    wanted = np.random.get_state()[1].copy(), gn.MLP([3, 2]).state_dict()
    np.random.seed(3)
    gn.seed(3)
    for state in (None, 5):
        settings = QUICK | {"random_state": state, "dropout": 0.2, "early_stopping": True}
        kind(**settings).fit(X, Y[kind]).predict(X)
    assert (np.random.get_state()[1] == wanted[0]).all()
    for name, array in gn.MLP([3, 2]).state_dict().items():
        np.testing.assert_array_equal(array, wanted[1][name])


@BOTH
def test_random_state(kind: Any) -> None:
    def found(state: Any) -> Any:
        return outputs(kind(**QUICK | {"random_state": state}).fit(X, Y[kind]))

    np.testing.assert_array_equal(found(4), found(4))
    np.testing.assert_array_equal(found(np.random.RandomState(4)), found(np.random.RandomState(4)))
    assert not np.array_equal(found(4), found(5))
    assert not np.array_equal(found(None), found(None))


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_keeps_the_dtype_of_x(kind: Any, dtype: Any) -> None:
    fitted = kind(**QUICK).fit(X.astype(dtype), Y[kind])
    assert outputs(fitted).dtype == dtype
    assert fitted.model_.dtype == dtype
    assert outputs(kind(**QUICK, dtype="float32").fit(X, Y[kind])).dtype == np.float32
    whole = kind(**QUICK).fit(np.round(X).astype(int), Y[kind])
    assert whole.model_.dtype == np.float64


@BOTH
def test_early_stopping_keeps_the_best_epoch(kind: Any) -> None:
    noise = RNG.permutation(Y[kind])
    settings = QUICK | {"max_iter": 300, "lr": 0.05, "early_stopping": True}
    fitted = kind(**settings, n_iter_no_change=4, validation_fraction=0.3).fit(X, noise)
    history = fitted.history_
    assert fitted.n_iter_ < 300
    assert history.stopped == "no better validation loss for 4 epochs"
    assert history.kept == fitted.n_iter_ - 4
    assert len(fitted.loss_curve_) == fitted.n_iter_
    assert fitted.loss_ == fitted.loss_curve_[-1]


@BOTH
def test_a_training_loss_that_falls_no_more_ends_it(kind: Any) -> None:
    fitted = kind(**QUICK | {"max_iter": 500}, tol=0.5, n_iter_no_change=3).fit(X, Y[kind])
    assert fitted.n_iter_ < 10
    assert "the training loss fell by no more than 0.5 in 3 epochs" in fitted.history_.stopped


@BOTH
def test_copies_go_on_bit_for_bit(kind: Any) -> None:
    classes = {"classes": ["no", "yes"]} if kind is MLPClassifier else {}
    one = kind(**QUICK, dropout=0.2).partial_fit(X, Y[kind], **classes)
    copies = [copy.deepcopy(one), pickle.loads(pickle.dumps(one))]
    for fitted in (one, *copies):
        fitted.partial_fit(X, Y[kind]).partial_fit(X[:50], Y[kind][:50])
        assert fitted.n_iter_ == 3
    for fitted in copies:
        np.testing.assert_array_equal(outputs(one), outputs(fitted))
    assert outputs(clone(one).fit(X, Y[kind])) is not None
    assert not hasattr(clone(one), "model_")


@BOTH
def test_warm_start_goes_on(kind: Any) -> None:
    whole = kind(**QUICK | {"max_iter": 10}, tol=0).fit(X, Y[kind])
    parts = kind(**QUICK, tol=0, warm_start=True).fit(X, Y[kind]).fit(X, Y[kind])
    assert parts.n_iter_ == 10
    np.testing.assert_array_equal(outputs(whole), outputs(parts))
    anew = parts.set_params(warm_start=False).fit(X, Y[kind])
    assert anew.n_iter_ == 5


@BOTH
def test_layers(kind: Any) -> None:
    fitted = kind(**QUICK | {"hidden_layer_sizes": [6, 5]}, batch_norm=True, dropout=0.1)
    names = [type(layer).__name__ for layer in fitted.fit(X, Y[kind]).model_]
    assert names == ["Affine", "BatchNorm", "ReLU", "Dropout"] * 2 + ["Affine"]
    assert kind(**QUICK | {"hidden_layer_sizes": 6}).fit(X, Y[kind]).model_.sizes[1:-1] == [6]
    assert len(kind(**QUICK | {"hidden_layer_sizes": ()}).fit(X, Y[kind]).model_) == 1


@BOTH
def test_data_frames_have_names(kind: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    fitted = kind(**QUICK).fit(frame, pandas.Series(Y[kind]))
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert fitted.predict(frame).shape == (120,)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"a": "z"}))


@BOTH
def test_many_rows_are_predicted_in_parts(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = kind(**QUICK).fit(X, Y[kind])
    whole = outputs(fitted)
    monkeypatch.setattr("gpunet.train.evaluation.ROWS", 7)
    np.testing.assert_allclose(outputs(fitted), whole, rtol=1e-12)


@BOTH
def test_a_training_that_diverges_says_so(kind: Any) -> None:
    settings = QUICK | {"optimizer": "sgd", "lr": 1e200, "batch_size": 10}
    with pytest.raises(gn.NonFiniteError):
        kind(**settings).fit(X, Y[kind])


@BOTH
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_search_too(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not swallowed; what was trained stays."""
    import signal

    from gpunet.sklearn import base

    def pressed(self: Any, trainer: Any, row: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(base.Plateau, "on_epoch", pressed)
    fitted = kind(**QUICK)
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y[kind])
    assert fitted.n_iter_ == 1
    assert fitted.predict(X).shape == (120,)

"""An ensemble's models by scripts of their own have the bits of the stack's steps in Python."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.ensemble.one_by_one import OneByOne
from gpunet.ensemble.scripts import FEW, ByScript

pytestmark = pytest.mark.usefixtures("compiled_steps")
DRAW = np.random.default_rng(7)
T = DRAW.integers(0, 5, 1000)
X = (DRAW.normal(size=(1000, 20)) + T[:, None] / 3).astype(np.float32)
TRAIN, VALID = (X[:900], T[:900]), (X[900:], T[900:])


def network(norm: bool = True, drop: float = 0.3, dtype: Any = np.float32) -> gn.Sequential:
    layers: list[gn.Layer] = []
    for a, b in ((20, 16), (16, 12)):
        layers.append(gn.Affine(a, b, dtype=dtype))
        layers += [gn.BatchNorm(b, dtype=dtype)] if norm else []
        layers += [gn.ReLU(), gn.Dropout(drop)]
    return gn.Sequential(*layers, gn.Affine(12, 5, dtype=dtype))


def trained(
    by_script: bool, epochs: int = 4, dtype: Any = np.float32, norm: bool = True, **given: Any
) -> Any:
    ensemble = gn.Ensemble(lambda: network(norm, dtype=dtype), 5, progress=False, **given)
    train, valid = ((x.astype(dtype), t) for x, t in (TRAIN, VALID))
    with pytest.MonkeyPatch.context() as patch:
        if not by_script:
            patch.setattr(ByScript, "_ready", lambda *_: None)
        ensemble.fit(train, valid, epochs, 16)
    return ensemble


def assert_same(one: gn.Ensemble, other: gn.Ensemble) -> None:
    for a, b in zip(one.histories, other.histories, strict=True):
        rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in h.rows] for h in (a, b)]
        assert rows[0] == rows[1]
        assert (a.kept, a.stopped) == (b.kept, b.stopped)
    for m, n in zip(one.models, other.models, strict=True):
        for name, array in m.state_dict().items():
            assert array.tobytes() == n.state_dict()[name].tobytes(), name
    for p, q in zip(one.optimizers, other.optimizers, strict=True):
        assert p.t == q.t
        assert [a.tobytes() for a in p.buffers()] == [a.tobytes() for a in q.buffers()]


RATES = [1e-4, 1e-2, gn.schedules.cosine(0.05, 100), 0.1, 1e-3]


@pytest.mark.parametrize(
    "given",
    [
        {"lr": RATES, "callbacks": [gn.EarlyStopping(1)]},
        {
            "lr": RATES,
            "weight_decay": [0, 0.1, 0, 0, 0.01],
            "dropout": [0, 0.5, 0.1, 0, 0.9],
            "clip_norm": [None, 0.1, 0.5, None, 0.2],
        },
        {"optimizer": "momentum", "lr": 0.01, "seeds": 3, "dropout": [0, 0.5, 0.1, 0, 0.9]},
        {"optimizer": "radam", "dtype": np.float64, "norm": False},
    ],
    ids=["early stops", "settings of their own", "one order for all", "float64"],
)
def test_the_bits_of_python(given: dict[str, Any]) -> None:
    one, other = trained(True, **given), trained(False, **given)
    assert one.how == "up to 50 updates of each in one call"
    assert other.how == "one by one, fused"
    assert_same(one, other)


def test_a_smaller_last_batch_gets_scripts_after_some_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walked: list[int] = []
    run = OneByOne.run

    def noted(self: OneByOne, first: int, last: int) -> Any:
        walked.append(last - first)
        return run(self, first, last)

    monkeypatch.setattr(OneByOne, "run", noted)
    trained(True, epochs=7)
    first, *others = walked  # nothing may be compiled yet
    assert first in (1, 57)
    assert others == [1] * (FEW - 1)


def test_one_that_overflows_ends_alone() -> None:
    given = {"optimizer": "sgd", "lr": [0.01, 1e30, 0.02, 0.03, 0.04]}
    with np.errstate(all="ignore"):
        one, other = trained(True, **given), trained(False, **given)
    assert [error is not None for error in one.errors] == [False, True, False, False, False]
    assert_same(one, other)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_comes_between_calls() -> None:
    class Stops(gn.Callback):
        def on_epoch(self, trainer: Any, row: Any) -> None:
            if trainer.seed == 0:
                signal.raise_signal(signal.SIGINT)

    ensemble = trained(True, callbacks=[Stops()])
    assert [h.stopped for h in ensemble.histories] == ["interrupted"] * 5
    assert [o.t for o in ensemble.optimizers] == [57] * 5


def test_no_scripts_are_written_for_a_last_batch_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """900 rows are 56 batches of 16, and one of 4."""
    ready, seen = ByScript._ready, set[int]()

    def noted(self: ByScript, first: int, rows: int, count: int) -> Any:
        seen.add(rows)
        return ready(self, first, rows, count)

    monkeypatch.setattr(ByScript, "_ready", noted)
    ensemble = trained(True, epochs=1)
    assert seen == {16}
    assert [o.t for o in ensemble.optimizers] == [57] * 5

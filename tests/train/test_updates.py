"""gpunet.train.updates: several batches an update, and what happens without a graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.graphs import CaptureError, Graphs
from tests.train.trainings import LOSSES, X, assert_same, mlp, trainer


@pytest.mark.parametrize("accumulate", [2, 3, 50])
@pytest.mark.parametrize("name", LOSSES)
def test_accumulate_is_a_larger_batch(name: str, accumulate: int, device: str) -> None:
    make, t, outputs = LOSSES[name]
    large, small = mlp(device, outputs=outputs), mlp(device, outputs=outputs)
    one = trainer(large, make(device)).fit((X, t), epochs=2, batch_size=4 * accumulate, seed=2)
    fitted = trainer(small, make(device))
    two = fitted.fit((X, t), epochs=2, batch_size=4, accumulate=accumulate, seed=2)
    assert fitted.optimizer.t == 2 * -(-23 // (4 * accumulate))
    assert_same(large, small, rtol=1e-9, atol=1e-13)
    assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-9)


def test_a_graph_that_cannot_be_had(sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under "auto" the training goes on without it, after one warning, as if it never was tried."""
    x, t = np.ones((200, 5), np.float32), np.arange(200) % 3
    x[:, 0] = np.linspace(-1, 1, 200)

    def trained(capture: bool | str) -> gn.MLP:
        model = mlp("cuda", np.float32, batch_norm=True, dropout=0.5)
        fitted = trainer(model, capture=capture)
        fitted.fit((x, t), epochs=2, batch_size=2, accumulate=2)
        return model

    eager = trained(False)
    captured = Graphs._capturing

    @contextmanager
    def failing(self: Graphs) -> Iterator[list[Any]]:
        with captured(self):
            yield []
            raise ValueError("status 14")

    monkeypatch.setattr(Graphs, "_capturing", failing)
    with pytest.warns(
        RuntimeWarning, match=r"cannot be captured: status 14; .* capture=False"
    ) as w:
        assert_same(trained("auto"), eager)
    assert len(w) == 1
    with pytest.raises(CaptureError, match="status 14"):
        trained(True)

"""gpunet.train.history: columns, the best epoch, the CSV file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import gpunet as gn


def history(*losses: float, name: str = "valid_loss") -> gn.History:
    found = gn.History()
    found.rows = [{"epoch": k, "train_loss": 1 / k, name: loss} for k, loss in enumerate(losses, 1)]
    return found


def test_columns() -> None:
    found = history(3.0, 2.0)
    assert len(found) == 2
    assert found.columns == ["epoch", "train_loss", "valid_loss"]
    assert found["epoch"] == [1, 2]
    assert found["valid_loss"] == [3.0, 2.0]
    del found.rows[0]["valid_loss"]
    assert found["valid_loss"] == [None, 2.0]
    with pytest.raises(KeyError, match="no column 'loss'; there are epoch, train_loss, valid_loss"):
        found["loss"]
    assert gn.History()["train_loss"] == []


@pytest.mark.parametrize(
    ("losses", "best"),
    [((3, 1, 2), 2), ((1, 1, 1), 1), ((math.nan, 2, 1), 3), ((2, math.nan), 1), ((), None)],
)
def test_best_epoch(losses: tuple[float, ...], best: int | None) -> None:
    assert history(*losses).best_epoch == best


def test_best_epoch_without_validation() -> None:
    assert history(9, 9, name="lr").best_epoch == 2  # by the training loss, 1 and 1/2
    found = history(9, 9)
    del found.rows[1]["valid_loss"]
    assert found.best_epoch == 1


def test_repr() -> None:
    found = history(2.0)
    found.stopped = "all epochs done"
    found.rows[0] |= {"lr": None, "note": "warm"}
    assert repr(found) == (
        "History(1 epoch, all epochs done; last: epoch=1, train_loss=1, valid_loss=2, lr=None, "
        "note=warm)"
    )
    assert repr(gn.History()) == "History(0 epochs, not started)"


def test_csv(tmp_path: Path) -> None:
    found = history(0.1, 1 / 3)
    found.rows[0]["lr"] = None
    found.rows[1]["note"] = 'a "b", c'
    found.save_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == (
        b"epoch,train_loss,valid_loss,lr,note\n"
        b"1,1.0,0.1,,\n"
        b'2,0.5,0.3333333333333333,,"a ""b"", c"\n'
    )
    gn.History().save_csv(tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_bytes() == b"\n"

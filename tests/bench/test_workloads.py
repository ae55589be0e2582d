"""gpunet.bench.workloads: each is what it says, and its arrays fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpunet.bench import workloads
from gpunet.bench.workloads import Workload, chosen


def test_they_are_what_they_say() -> None:
    known = workloads.workloads("cpu")
    assert known["W2"].text == ("784-256-128-10 BatchNorm + ReLU + Dropout 0.5, batch 128, Adam")
    assert known["W4b"].text == "Adam alone, 2 million parameters in 20 tensors"
    assert known["W6"].steps_a_round == 468
    assert known["W1"].flops == 2 * 100 * (2 * 784 * 100 + 3 * 100 * 10)
    big = workloads.workloads("cuda")
    assert big["W3"].sizes == (1024, 4096, 4096, 1000)
    assert big["W4a"].parameters == 10**8
    assert [w.name for w in chosen(("w4", "W1"), "cpu")] == ["W4a", "W4b", "W1"]
    assert chosen((), "cuda") == list(big.values())


def test_the_tensors_of_an_update_have_all_parameters() -> None:
    tensors = workloads.start(Workload("W4b", "adam", tensors=3, parameters=10))
    assert [t.size for t in tensors] == [4, 3, 3]


def test_fashion_mnist_is_read_where_it_is(tmp_path: Path) -> None:
    w6 = Workload("W6", "sgd", (64, 3, 10), 5, rows=12)
    np.savez(
        tmp_path / "d.npz",
        x_train=np.ones((30, 64), np.float32),
        t_train=np.arange(30) % 3,
        x_test=np.ones((9, 64), np.float32),
        t_test=np.arange(9) % 3,
    )
    x, t = workloads.rows(w6, str(tmp_path / "d.npz"))
    assert x.shape[1] == 64
    assert len(x) == len(t) <= 30
    wider = Workload("W6", "sgd", (65, 3, 10), 5, rows=12)
    with pytest.raises(ValueError, match="W6 takes rows of 65 numbers"):
        workloads.rows(wider, str(tmp_path / "d.npz"))

"""gpunet.train.fingerprint: data known again, by all of it or by a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.train import fingerprint
from gpunet.train.fingerprint import of_arrays, of_data

X = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
T = np.arange(50) % 3


def test_every_number_counts() -> None:
    whole = of_data(X, T)
    assert whole["x"]["rows"] == 50
    for at in np.ndindex(X.shape):
        other = X.copy()
        other[at] = np.nextafter(other[at], np.float32(9))
        assert of_data(other, T) != whole
    assert of_data(X, T[::-1]) != whole
    assert of_data(X.reshape(50, 2, 2), T) != whole
    assert of_data(X.view(np.int32), T) != whole


def test_the_same_data_wherever_it_is(device: str, tmp_path: Path) -> None:
    whole = of_data(X, T)
    assert of_data(gn.to_device(X, device), gn.to_device(T, device)) == whole
    assert of_data(gn.Tensor(X), T.tolist()) == whole
    assert of_data(np.asfortranarray(X), T) == whole
    np.save(tmp_path / "x.npy", X)
    assert of_data(np.load(tmp_path / "x.npy", mmap_mode="r"), T) == whole


def test_a_sample_of_what_is_large(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "WHOLE", 10 * 16)
    whole = of_data(X, T)["x"]
    assert whole["rows"] == 10
    changed = []
    for row in range(50):
        other = X.copy()
        other[row] += 1
        if of_data(gn.to_device(other, device), T)["x"] != whole:
            changed.append(row)
    assert len(changed) == 10
    assert {0, 49} <= set(changed)
    monkeypatch.setattr(fingerprint, "WHOLE", 3)  # less than a row
    assert of_data(X, T)["x"]["rows"] == 1


def test_arrays_of_any_shape() -> None:
    assert of_arrays([np.array(1.0), np.zeros((0, 3))]) == of_arrays([np.array(1.0)])
    assert of_arrays([np.array(1.0)]) != of_arrays([np.array(2.0)])

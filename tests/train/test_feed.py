"""gpunet.train.feed: data checked, converted and moved once, or left on the host to stream."""

from __future__ import annotations

import importlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import device_of, to_host
from gpunet.testing import simgpu
from gpunet.train import feed as feed_module
from gpunet.train import stream
from gpunet.train.feed import Feed

needs_compiler = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])

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


def test_rows_beyond_the_first_block(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "BLOCK_BYTES", 4 * 8)  # two rows
    np.testing.assert_array_equal(to_host(feed(X, LABELS, device=device).x), X)
    x = X.copy()
    x[4, 1] = np.inf
    with pytest.raises(ValueError, match="x holds inf in row 4, column 1"):
        feed(x, LABELS, device=device)
    monkeypatch.setattr(feed_module, "BLOCK_BYTES", 2 * 8)  # two labels
    with pytest.raises(ValueError, match="label 7 in row 3 is out of range"):
        feed(X, [0, 1, 2, 7, 8, 9], device=device)


def test_a_look_at_the_data_needs_little_memory() -> None:
    x, t = np.zeros((50_000, 200), "float32"), np.zeros(50_000, "int64")  # 38 MiB
    model = gn.Sequential(gn.Affine(200, 3))
    tracemalloc.start()
    try:
        Feed((x, t), model, gn.SoftmaxWithLoss(), "train")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


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


def test_batches(device: str) -> None:
    found = feed(X, LABELS, device=device)
    rows = [np.array([4, 0, 2]), np.array([1])]
    for (x, t), expected in zip(found.batches(found.moved(rows)), rows, strict=True):
        assert device_of(x) == device_of(t) == device
        np.testing.assert_array_equal(to_host(x), X[expected])
        np.testing.assert_array_equal(to_host(t), LABELS[expected])
    assert to_host(found.targets(found.moved(rows)[0])[0]).tolist() == [1, 0, 2]
    found.batches(rows).close()


# Files


@pytest.fixture(params=["float64", "float32", ">f4"])
def mapped(request: pytest.FixtureRequest, tmp_path: Path) -> np.memmap:
    file = np.memmap(tmp_path / "x.bin", request.param, "w+", shape=X.shape)
    file[...] = X
    return file


def test_a_file_stays_one_on_the_cpu(mapped: np.memmap) -> None:
    found = feed(mapped, LABELS.astype("float64"), lambda z, t: (z.sum(axis=1) - t).mean())
    assert np.shares_memory(found.x, mapped)
    assert not found.streams
    for rows in (np.array([5, 0, 2]), slice(1, 4), slice(None)):
        x, t = found.rows(rows)
        assert x.dtype == t.dtype == found.targets(rows)[0].dtype == np.float32
        np.testing.assert_array_equal(x, X[rows])
        np.testing.assert_array_equal(t, LABELS[rows])
        np.testing.assert_array_equal(found.targets(rows)[0], LABELS[rows])


def test_a_file_is_moved_where_it_fits(mapped: np.memmap, xp: Any, device: str) -> None:
    found = feed(mapped, LABELS, device=device)
    assert not found.streams
    assert found.xp is xp
    x, _ = found.rows(slice(None))
    assert type(x) is xp.ndarray
    assert x.dtype == np.float32
    np.testing.assert_array_equal(to_host(x), X)


def test_targets_in_a_file_are_looked_at_as_they_are_handed_out(tmp_path: Path) -> None:
    file = np.memmap(tmp_path / "t.bin", "float64", "w+", shape=6)
    file[...] = [0, 1, 1 + 1e-12, 0, 1, 0]  # 1 in float32
    assert len(feed(X, file, gn.SigmoidWithLoss(), 1)) == 6


def test_the_bytes_of_a_file_may_be_the_other_way_round(device: str) -> None:
    found = feed(X, LABELS.astype(">i4"), device=device)
    assert found.t.dtype == np.int32
    assert to_host(found.t).tolist() == LABELS.tolist()


# Streaming


@pytest.fixture
def model() -> Iterator[gn.Layer]:
    """On the simulated GPU."""
    with simgpu.activate():
        yield gn.Sequential(gn.Affine(2, 3)).to("cuda")


def streaming(data: Any, model: gn.Layer, stream: bool | None = None) -> Feed:
    return Feed(data, model, gn.SoftmaxWithLoss(), "train", stream=stream)


@needs_compiler
def test_what_streams_stays_on_the_host(model: gn.Layer) -> None:
    found = streaming((X, LABELS), model, True)
    assert found.streams
    assert found.x is X
    assert found.t is LABELS
    assert found.xp is importlib.import_module("cupy")
    rows = found.moved([np.array([4, 0, 2]), np.array([1])])
    assert all(type(numbers) is np.ndarray for numbers in rows)
    for _ in range(2):
        for (x, t), expected in zip(found.batches(rows), rows, strict=True):
            assert (device_of(x), x.dtype, t.dtype) == ("cuda", np.float32, np.int64)
            np.testing.assert_array_equal(to_host(x), X[expected])
            np.testing.assert_array_equal(to_host(t), LABELS[expected])


@needs_compiler
def test_what_streams_can_be_had_at_random(model: gn.Layer) -> None:
    found = streaming((X, LABELS), model, True)
    for rows in (np.array([4, 0, 2]), slice(0, 3)):
        x, t = found.rows(rows)
        assert device_of(x) == device_of(t) == device_of(found.targets(rows)[0]) == "cuda"
        assert x.dtype == np.float32
        np.testing.assert_array_equal(to_host(x), X[rows])
        np.testing.assert_array_equal(to_host(t), LABELS[rows])
        np.testing.assert_array_equal(to_host(found.targets(rows)[0]), LABELS[rows])


@needs_compiler
def test_streams_where_more_than_half_of_the_free_memory_would_be_taken(
    model: gn.Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = X.size * 4 + LABELS.nbytes  # as float32
    for free, streams in [(2 * needed - 1, True), (2 * needed, False)]:
        monkeypatch.setattr(stream, "free_bytes", lambda free=free: free)
        assert streaming((X, LABELS), model).streams == streams
        assert streaming((X, LABELS), model, True).streams
        assert not streaming((X, LABELS), model, False).streams


@needs_compiler
def test_what_is_on_the_gpu_does_not_stream(
    model: gn.Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = importlib.import_module("cupy").asarray(X, "float32")
    with pytest.raises(ValueError, match="train: stream=True, but x is on the GPU already; give"):
        streaming((x, LABELS), model, True)
    monkeypatch.setattr(stream, "free_bytes", lambda: 0)
    assert streaming((x, LABELS), model).x is x


@needs_compiler
def test_data_to_stream_is_looked_at(model: gn.Layer) -> None:
    with pytest.raises(ValueError, match="label 3 in row 3 is out of range"):
        streaming((X, np.arange(6)), model, True)
    x = X.copy()
    x[3, 0] = 1e39
    with pytest.raises(ValueError, match=r"x holds 1e\+39 in row 3, column 0, no finite float32"):
        streaming((x, LABELS), model, True)

"""gpunet.train.stream: what waits for what when batches are copied while the GPU computes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.testing import simgpu
from gpunet.train import stream
from gpunet.train.feed import Feed
from gpunet.train.stream import HostRows

needs_compiler = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])

ROWS, COLUMNS, BATCH = 70, 8, 16
X = np.random.default_rng(0).standard_normal((ROWS, COLUMNS))
LABELS = np.arange(ROWS) % 3
PARTS = HostRows(X, "float32"), HostRows(LABELS, "int64")


def groups(epoch: int = 0) -> list[np.ndarray]:
    """Four batches of 16 rows and one of 6."""
    return list(gn.data.batches(ROWS, BATCH, 0, epoch))


@pytest.fixture
def cp() -> Iterator[Any]:
    with simgpu.activate() as cupy:
        yield cupy


# Streams that take their time

LAZY = "deferred"  # every copy and every kernel as late as possible
COPIES_FIRST = "null-last"  # copies as early, kernels of the null stream as late as possible
KERNELS_FIRST = "null-first"  # the other way round


def launch_on_all(cp: Any, rows: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Work of the null stream on every batch; gives what it saw."""
    return [(x.copy(), t.copy()) for x, t in stream.batches(PARTS, rows)]


def without_poison(calls: list[simgpu.Call]) -> list[simgpu.Call]:
    return [call for call in calls if call.kind != "poison"]


@pytest.mark.parametrize("streams", [LAZY, COPIES_FIRST, KERNELS_FIRST])
def test_nothing_is_overtaken(cp: Any, streams: str) -> None:
    with simgpu.schedule(streams=streams):
        seen = launch_on_all(cp, groups())
    for (x, t), rows in zip(seen, groups(), strict=True):
        np.testing.assert_array_equal(x.get(), X[rows].astype("float32"))
        np.testing.assert_array_equal(t.get(), LABELS[rows])


def test_a_stream_that_does_not_wait_is_seen(cp: Any) -> None:
    with simgpu.schedule(streams=KERNELS_FIRST):
        copies = cp.cuda.Stream(non_blocking=True)
        x = cp.zeros(4)
        host = cp.cuda.alloc_pinned_memory(32)
        numbers = np.frombuffer(host, np.float64, 4)
        numbers[:] = 1
        x.set(numbers, copies)
        early = x.copy()  # nobody said that the copy comes first
    assert early.get().tolist() == [0, 0, 0, 0]


def test_a_new_buffer_waits_for_the_kernels_that_had_its_memory(cp: Any) -> None:
    """The pool hands memory out again while a kernel that was launched before still reads it."""
    pool, out = cp.cuda.MemoryPool(), cp.zeros((BATCH, COLUMNS), "float32")
    with cp.cuda.using_allocator(pool.malloc):
        old = cp.full((BATCH, COLUMNS), 5, "float32")
        address = old.data.ptr
        with simgpu.schedule(streams=COPIES_FIRST):
            out[...] = old
            del old
            iterator = stream.batches(PARTS, groups())
            x, _ = next(iterator)
            assert x.data.ptr == address
            iterator.close()
    assert (out.get() == 5).all()


def test_the_order_of_events(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch k + 1 is sent before the work on batch k is launched, and without any wait for it."""
    gather, mark = HostRows.read_into, cp.cuda.Stream()
    out = cp.empty((BATCH, COLUMNS), "float32")

    def gathered(self: HostRows, rows: Any, into: Any) -> None:
        mark.launch_host_func(lambda _: None, None)
        gather(self, rows, into)

    monkeypatch.setattr(HostRows, "read_into", gathered)
    with simgpu.trace() as calls, simgpu.schedule(streams=COPIES_FIRST):
        for x, _ in stream.batches(PARTS, groups()[:3]):
            out[...] = x
    words = {"d2d": "kernel", "host": "gather", "wait for event": "host waits"}
    words["wait for stream"] = "host waits for all"
    names = [
        ("copies: " if call.stream not in (0, mark.ptr) and "for event" not in call.kind else "")
        + words.get(call.kind, call.kind)
        for call in without_poison(calls)
    ]
    send = "host waits, copies: wait, gather, copies: h2d, gather, copies: h2d, copies: record, "
    take = "wait, kernel, record, "
    expected = "record, record, " + send * 2 + take + send + take * 2 + "copies: host waits for all"
    assert ", ".join(names) == expected


def test_the_copies_do_not_wait_for_the_null_stream(cp: Any) -> None:
    with simgpu.trace() as calls:
        iterator = stream.batches(PARTS, groups())
        next(iterator)
    (copies,) = {call.stream for call in calls if call.kind == "h2d"}
    assert copies != 0
    assert cp.cuda.runtime.streamGetFlags(copies) == cp.cuda.runtime.streamNonBlocking
    iterator.close()


@pytest.mark.parametrize("taken", [0, 1, 2, 4])
def test_no_copy_is_left_when_the_iterator_is_closed(cp: Any, taken: int) -> None:
    with simgpu.trace() as calls, simgpu.schedule(streams=LAZY):
        iterator = stream.batches(PARTS, groups())
        for _ in range(taken):
            next(iterator)
        iterator.close()
    check_finished(calls, taken > 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_no_copy_is_left_after_an_error_while_gathering(
    cp: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fails(*args: Any) -> None:
        raise error("the disk is gone")

    with simgpu.trace() as calls, simgpu.schedule(streams=LAZY):
        iterator = stream.batches(PARTS, groups())
        next(iterator)
        monkeypatch.setattr(HostRows, "read_into", fails)
        with pytest.raises(error, match="the disk is gone"):
            next(iterator)
    check_finished(calls, True)


def check_finished(calls: list[simgpu.Call], used: bool) -> None:
    """The last thing that happens to the stream of the copies is that the host waits for it."""
    copies = {call.stream for call in calls if call.kind == "h2d"}
    assert len(copies) == used
    last = [call.kind for call in calls if call.stream in copies]
    assert not used or last[-1] == "wait for stream"


# Values, counts, memory


def test_counts(cp: Any) -> None:
    """Two copies a batch; the host waits for events alone, and at the end for the copies."""
    with simgpu.count() as counters:
        for _ in stream.batches(PARTS, groups()):
            pass
    assert counters.h2d_copies == 2 * len(groups())
    assert counters.synchronisations == len(groups()) + 1
    assert counters.d2h_copies == counters.d2d_copies == counters.launches == 0
    assert counters.allocations == 4


def test_no_groups(cp: Any) -> None:
    assert list(stream.batches(PARTS, [])) == []


def test_slices(cp: Any) -> None:
    slices = [slice(k, k + 32) for k in range(0, ROWS, 32)]
    for (x, t), rows in zip(stream.batches(PARTS, slices), slices, strict=True):
        np.testing.assert_array_equal(cp.asnumpy(x), X[rows].astype("float32"))
        np.testing.assert_array_equal(cp.asnumpy(t), LABELS[rows])


@needs_compiler
def test_a_training_that_streams_is_the_resident_one(cp: Any) -> None:
    def trained(streams: bool) -> np.ndarray:
        gn.seed(0)
        model = gn.Sequential(gn.Affine(COLUMNS, 5), gn.ReLU(), gn.Affine(5, 3)).to("cuda")
        optimizer, loss = gn.Adam(model.parameters()), gn.SoftmaxWithLoss()
        feed = Feed((X, LABELS), model, loss, "train", stream=streams)
        assert feed.streams == streams
        for epoch in range(2):
            for x, t in feed.batches(feed.moved(groups(epoch))):
                optimizer.zero_grad()
                loss(model(x), t).backward()
                optimizer.step()
        return np.concatenate([cp.asnumpy(p.data).ravel() for p in model.parameters()])

    np.testing.assert_array_equal(trained(True), trained(False))


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    file = np.memmap(tmp_path / "x.bin", "float64", "w+", shape=X.shape)
    file[...] = X
    return file


def test_rows_of_a_file_are_read_forwards(mapped: np.memmap) -> None:
    asked: list[Any] = []

    class Spy(np.memmap):
        def __getitem__(self, rows: Any) -> Any:
            asked.append(rows)
            return super().__getitem__(rows)

    found = HostRows(mapped.view(Spy), "float32").read(np.array([5, 2, 69, 2]))
    assert asked[0].tolist() == [2, 2, 5, 69]
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, X[[5, 2, 69, 2]].astype("float32"))


def test_what_lies_in_a_file(mapped: np.memmap, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    assert stream.is_mapped(mapped)
    assert stream.is_mapped(np.asarray(mapped)[3:, ::2].T)
    assert stream.is_mapped(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert not stream.is_mapped(mapped[[1, 2]])
    assert not stream.is_mapped(mapped * 2)
    assert not stream.is_mapped(np.load(tmp_path / "x.npy"))
    assert not stream.is_mapped(np.frombuffer(b"12345678"))


def test_a_slice_of_a_file_is_not_read(mapped: np.memmap) -> None:
    part = HostRows(mapped, "float64")
    assert np.shares_memory(part.read(slice(3, 9)), mapped)
    assert not np.shares_memory(part.read(np.array([3])), mapped)


def test_free_bytes(cp: Any) -> None:
    pool = cp.get_default_memory_pool()
    before = stream.free_bytes()
    array = cp.zeros(1 << 20, "uint8")
    assert stream.free_bytes() <= before - array.nbytes
    del array
    assert stream.free_bytes() == before
    pool.set_limit(pool.used_bytes() + 1000)
    try:
        assert stream.free_bytes() == 1000
    finally:
        pool.set_limit(0)


# More than the memory allows

ROOT = Path(__file__).resolve().parents[2]
LARGE = (81920, 512)  # 320 MiB of float64
ROOM = 48 << 20  # for all that a training makes; what is mapped from a file does not count

TRAIN_WITHIN = """
import re, resource, sys
import numpy as np
import gpunet as gn

file, rows, columns, room = sys.argv[1], *map(int, sys.argv[2:])
x = np.memmap(file, "float64", "r", shape=(rows, columns))
t = np.arange(rows) % 2
model = gn.Sequential(gn.Affine(columns, 16), gn.ReLU(), gn.Affine(16, 2))
trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()), progress=False)
np.ones((512, 512)) @ np.ones((512, 512))  # now the BLAS has the buffers that it keeps
status = open("/proc/self/status").read()
allowed = int(re.search(r"VmData:\\s+(\\d+) kB", status)[1]) * 1024 + room
assert allowed < x.nbytes, "the file is to be larger than all the memory that is allowed"
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
try:
    np.ones(2 * room, "uint8")
except MemoryError:
    pass
else:
    sys.exit("the limit does not hold")
losses = [row["train_loss"] for row in trainer.fit((x, t), epochs=2, batch_size=256).rows]
accuracy = trainer.evaluate((x, t))["accuracy"]
assert losses[1] < 0.5 * losses[0] and accuracy > 0.9, (losses, accuracy)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone limits a process's data so")
def test_a_file_larger_than_the_memory(tmp_path: Path) -> None:
    """Checked, converted, shuffled, trained on and evaluated; all of it would be too much."""
    file, (rows, columns) = tmp_path / "x.bin", LARGE
    block = np.random.default_rng(0).standard_normal((1024, columns))
    block[1::2, 0] += 4  # what tells the two classes apart
    try:
        with file.open("wb") as out:
            for _ in range(rows // len(block)):
                block.tofile(out)
        arguments = map(str, (file, rows, columns, ROOM))
        done = subprocess.run(
            [sys.executable, "-c", TRAIN_WITHIN, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # each would take memory of its own
        )
        assert done.returncode == 0, done.stderr
    finally:
        file.unlink()

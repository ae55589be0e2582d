"""gpunet.train.stream: what waits for what when batches are copied while the GPU computes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.testing import simgpu
from gpunet.testing.simgpu import work
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


class Queues:
    """Puts off the work of the simulated GPU's streams, as far as events and waits allow.

    A stream that is `eager` works as soon as the events that it waits for let it; any other only
    when the host, or a stream that works, waits for it. `log` has what was asked for, in order.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, eager: Callable[[int], bool]) -> None:
        self.eager, self.log = eager, []
        self.queues: dict[int, list[tuple[str, Any]]] = defaultdict(list)
        self.recorded: dict[int, tuple[int, object]] = {}  # event: its stream and its mark there
        event, stream = simgpu.cupy.cuda.Event, simgpu.cupy.cuda.Stream
        monkeypatch.setattr(work, "submit", self.submit)
        monkeypatch.setattr(event, "record", lambda e, on=None: self.record(e, on))
        monkeypatch.setattr(event, "synchronize", lambda e: self.wait(e))
        monkeypatch.setattr(stream, "wait_event", lambda s, e: self.wait_event(s, e))
        monkeypatch.setattr(stream, "synchronize", lambda s: self.finish(s.ptr))

    def submit(self, state: work.StreamState, kind: str, name: str, run: Any) -> None:
        self.log.append((kind, state.ptr))
        self._add(state.ptr, "run", run)

    def record(self, event: Any, on: Any = None) -> None:
        ptr, mark = work.state_of(on).ptr, object()
        self.log.append(("record", ptr))
        self.recorded[event.ptr] = ptr, mark
        self._add(ptr, "mark", mark)

    def wait_event(self, on: Any, event: Any) -> None:
        self.log.append(("wait", on.ptr))
        if event.ptr in self.recorded:
            self._add(on.ptr, "wait", self.recorded[event.ptr])

    def wait(self, event: Any) -> None:
        self.log.append(("host waits", 0))
        if event.ptr in self.recorded:
            self._reach(*self.recorded[event.ptr])

    def finish(self, ptr: int) -> None:
        self.log.append(("host waits for all", ptr))
        while self.queues[ptr]:
            self._work(ptr)

    def _add(self, ptr: int, kind: str, what: Any) -> None:
        self.queues[ptr].append((kind, what))
        for other in list(self.queues):
            while self.eager(other) and self.queues[other] and not self._blocked(other):
                self._work(other)

    def _blocked(self, ptr: int) -> bool:
        kind, what = self.queues[ptr][0]
        return kind == "wait" and ("mark", what[1]) in self.queues[what[0]]

    def _reach(self, ptr: int, mark: object) -> None:
        while ("mark", mark) in self.queues[ptr]:
            self._work(ptr)

    def _work(self, ptr: int) -> None:
        """Do the first piece of work that the stream was given, after what that waits for."""
        kind, what = self.queues[ptr][0]
        if kind == "wait":
            self._reach(*what)
        del self.queues[ptr][0]
        if kind == "run":
            what()


def lazy(ptr: int) -> bool:
    """Every copy and every kernel as late as possible."""
    return False


def copies_first(ptr: int) -> bool:
    """Copies as early, kernels of the null stream as late as possible."""
    return ptr != 0


def kernels_first(ptr: int) -> bool:
    """The other way round."""
    return ptr == 0


Seen = list[tuple[np.ndarray, np.ndarray]]


def launch_on_all(parts: tuple[HostRows, HostRows], rows: Sequence[Any]) -> Seen:
    """Launches a kernel on every batch; gives the list in which it notes what it saw."""
    seen: Seen = []
    for x, t in stream.batches(*parts, rows):

        def kernel(x: np.ndarray = x._view, t: np.ndarray = t._view) -> None:
            seen.append((x.copy(), t.copy()))

        work.submit(work.NULL, "kernel", "look", kernel)
    return seen


@pytest.mark.parametrize("eager", [lazy, copies_first, kernels_first])
def test_nothing_is_overtaken(cp: Any, monkeypatch: pytest.MonkeyPatch, eager: Any) -> None:
    with monkeypatch.context() as patch:
        queues = Queues(patch, eager)
        seen = launch_on_all(PARTS, groups())
        if eager is copies_first:
            assert len(seen) < len(groups())  # the last kernels have not run yet
        queues.finish(0)
    for (x, t), rows in zip(seen, groups(), strict=True):
        np.testing.assert_array_equal(x, X[rows].astype("float32"))
        np.testing.assert_array_equal(t, LABELS[rows])


def test_a_new_buffer_waits_for_the_kernels_that_had_its_memory(
    cp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool hands memory out again while a kernel that was launched before still reads it."""
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc), monkeypatch.context() as patch:
        old = cp.zeros((BATCH, COLUMNS), "float32")
        address, view = old.data.ptr, old._view
        Queues(patch, copies_first)
        seen: list[float] = []
        work.submit(work.NULL, "kernel", "before", lambda: seen.append(float(view[0, 0])))
        del old
        iterator = stream.batches(*PARTS, groups())
        x, _ = next(iterator)
        assert x.data.ptr == address
        view[0, 0] = 5  # nobody has written there yet, or this would come too late
        iterator.close()
    assert seen == [5.0]


def test_the_order_of_events(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch k + 1 is sent before the work on batch k is launched, and without any wait for it."""
    gather = HostRows.read_into
    with monkeypatch.context() as patch:
        queues = Queues(patch, copies_first)

        def gathered(self: HostRows, rows: Any, out: Any) -> None:
            queues.log.append(("gather", 0))
            gather(self, rows, out)

        patch.setattr(HostRows, "read_into", gathered)
        launch_on_all(PARTS, groups()[:3])
        queues.finish(0)
    send = "host waits, copies: wait, gather, copies: h2d, gather, copies: h2d, copies: record, "
    take = "wait, kernel, record, "
    expected = "record, record, " + send * 2 + take + send + take * 2 + "copies: host waits for all"
    names = [("copies: " if ptr else "") + kind for kind, ptr in queues.log[:-1]]
    assert ", ".join(names) == expected


def test_the_copies_do_not_wait_for_the_null_stream(
    cp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        queues = Queues(patch, lazy)
        iterator = stream.batches(*PARTS, groups())
        next(iterator)
        copies = next(ptr for kind, ptr in queues.log if kind == "h2d")
        assert copies != 0
        assert work.state_of_handle(copies).non_blocking
        iterator.close()


@pytest.mark.parametrize("taken", [0, 1, 2, 4])
def test_no_copy_is_left_when_the_iterator_is_closed(
    cp: Any, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    with monkeypatch.context() as patch:
        queues = Queues(patch, lazy)
        iterator = stream.batches(*PARTS, groups())
        for _ in range(taken):
            next(iterator)
        assert any(queues.queues.values()) == (taken > 0)
        iterator.close()
        assert not any(queue for ptr, queue in queues.queues.items() if ptr)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_no_copy_is_left_after_an_error_while_gathering(
    cp: Any, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    with monkeypatch.context() as patch:
        queues = Queues(patch, lazy)
        iterator = stream.batches(*PARTS, groups())
        next(iterator)

        def fails(*args: Any) -> None:
            raise error("the disk is gone")

        patch.setattr(HostRows, "read_into", fails)
        with pytest.raises(error, match="the disk is gone"):
            next(iterator)
        assert not any(queue for ptr, queue in queues.queues.items() if ptr)


# Values, counts, memory


def test_counts(cp: Any) -> None:
    """Two copies a batch; the host waits for events alone, and at the end for the copies."""
    with simgpu.count() as counters:
        for _ in stream.batches(*PARTS, groups()):
            pass
    assert counters.h2d_copies == 2 * len(groups())
    assert counters.synchronisations == len(groups()) + 1
    assert counters.d2h_copies == counters.d2d_copies == counters.launches == 0
    assert counters.allocations == 4


def test_no_groups(cp: Any) -> None:
    assert list(stream.batches(*PARTS, [])) == []


def test_slices(cp: Any) -> None:
    slices = [slice(k, k + 32) for k in range(0, ROWS, 32)]
    for (x, t), rows in zip(stream.batches(*PARTS, slices), slices, strict=True):
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

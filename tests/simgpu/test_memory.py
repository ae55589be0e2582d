"""Blocks of device memory: alignment, reuse, pools, and what stale addresses do."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import sanitizer

if not simgpu.available()[0]:
    pytest.skip(simgpu.available()[1], allow_module_level=True)
with simgpu.activate() as cp:
    pass
pytestmark = pytest.mark.usefixtures("cp")

MemoryPool, using_allocator = cp.cuda.MemoryPool, cp.cuda.using_allocator
Stream, CUDARuntimeError = cp.cuda.Stream, cp.cuda.runtime.CUDARuntimeError

not_under_asan = pytest.mark.skipif(
    sanitizer.wanted(), reason="under AddressSanitizer blocks are neither rounded up nor split"
)


@pytest.fixture
def pool() -> Any:
    """A pool of its own, from which this test's arrays come."""
    pool = MemoryPool()
    with using_allocator(pool.malloc):
        yield pool


@not_under_asan
@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
def test_blocks_are_aligned_and_rounded_up(pool: Any, size: int) -> None:
    block = cp.cuda.alloc(size)
    assert block.ptr % 512 == 0
    assert block.mem.size == -(-size // 512) * 512
    assert pool.used_bytes() == block.mem.size


def test_nothing_has_no_address(pool: Any) -> None:
    assert cp.empty(0).data.ptr == 0
    assert pool.total_bytes() == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fresh_and_reused_memory_is_poisoned(pool: Any, dtype: Any) -> None:
    for _ in range(2):
        x = cp.empty((3, 5), dtype)
        assert np.isnan(x.get()).all()
        x.fill(1)
        del x
    assert (cp.empty(3, np.int32).get() == -1).all()


def test_a_freed_block_is_given_again() -> None:
    pool = MemoryPool()
    with using_allocator(pool.malloc), simgpu.count() as counters:
        first = cp.empty(100)
        address = first.data.ptr
        view = first[5:]
        del first
        other = cp.empty(100)
        assert other.data.ptr != address  # the view still holds it
        del view
        again = {cp.empty(100).data.ptr for _ in range(3)}
    assert again == {address}  # each is freed before the next is made
    assert (counters.allocations, counters.pool_misses) == (5, 2)


def test_a_block_freed_by_the_garbage_collector_is_whole(pool: Any) -> None:
    cycle: list[Any] = [cp.empty(100)]
    address = cycle[0].data.ptr
    cycle.append(cycle)
    del cycle
    gc.collect()
    again = cp.zeros(100)  # its memset checks that the device holds the address
    assert again.data.ptr == address


def test_blocks_of_one_stream_are_not_given_to_another(pool: Any) -> None:
    address = cp.empty(100).data.ptr
    with Stream():
        assert cp.empty(100).data.ptr != address
    assert cp.empty(100).data.ptr == address


@not_under_asan
def test_a_larger_block_is_split_and_merged_again(pool: Any) -> None:
    whole = cp.empty(4096, np.uint8).data.ptr
    a, b = cp.empty(1024, np.uint8), cp.empty(512, np.uint8)
    assert (a.data.ptr, b.data.ptr) == (whole, whole + 1024)
    assert pool.total_bytes() == 4096
    assert pool.free_bytes() == 4096 - 1536
    pool.free_all_blocks()  # a split block stays
    assert pool.total_bytes() == 4096
    del a, b
    assert pool.n_free_blocks() == 1
    assert cp.empty(4096, np.uint8).data.ptr == whole
    pool.free_all_blocks()
    assert (pool.total_bytes(), pool.n_free_blocks()) == (0, 0)


@not_under_asan
def test_the_smallest_block_that_fits_is_taken(pool: Any) -> None:
    blocks = [cp.empty(size, np.uint8) for size in (8192, 2048, 4096)]
    smallest = blocks[1].data.ptr
    blocks.clear()
    assert cp.empty(1500, np.uint8).data.ptr == smallest


def test_limit(pool: Any) -> None:
    pool.set_limit(size=2048)
    kept = cp.empty(1024, np.uint8)
    with pytest.raises(MemoryError, match="limit set to: 2,048 bytes"):
        cp.empty(2048, np.uint8)
    assert kept.size == 1024
    assert pool.get_limit() == 2048
    with pytest.raises(ValueError, match="fraction"):
        pool.set_limit(fraction=2.0)


def test_the_device_has_an_end(pool: Any) -> None:
    kept = cp.empty(1024, np.uint8)
    del kept
    with pytest.raises(MemoryError, match="Out of memory allocating"):
        cp.empty(1 << 60, np.uint8)
    assert pool.total_bytes() == 0  # what was free went back first, as in CuPy
    with using_allocator(None), pytest.raises(CUDARuntimeError, match="cudaErrorMemoryAllocation"):
        cp.empty(1 << 60, np.uint8)
    free, total = cp.cuda.Device().mem_info
    block = cp.cuda.Memory(1 << 20)
    assert cp.cuda.Device().mem_info == (free - (1 << 20), total) == cp.cuda.runtime.memGetInfo()
    assert block.size == 1 << 20


@not_under_asan
def test_allocators_are_per_thread_inside_the_block(pool: Any) -> None:
    used: list[int] = []

    def work() -> None:
        before = pool.used_bytes()
        block = cp.empty(1000)
        used.append(pool.used_bytes() - before)
        del block

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert used == [0, 8192]
    with pytest.raises(ValueError, match="global allocator"):
        cp.cuda.set_allocator(pool.malloc)


def test_without_an_allocator_memory_comes_from_the_driver() -> None:
    with using_allocator(None), simgpu.count() as counters:
        cp.empty(3)
        cp.empty(3)
    assert (counters.allocations, counters.pool_misses) == (0, 2)  # no pool handed them out


def test_pools_are_safe_for_threads() -> None:
    pool = MemoryPool()
    problems: list[str] = []

    def work(number: int) -> None:
        with using_allocator(pool.malloc):
            for size in range(1, 200):
                x = cp.full(size % 37 + 1, number, np.int64)
                if (x.get() != number).any():
                    problems.append("two threads got one block")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert pool.used_bytes() == 0


def test_an_array_on_given_memory() -> None:
    block = cp.cuda.alloc(64)
    x = cp.ndarray((4,), np.float64, memptr=block)
    y = cp.ndarray((2,), np.float64, memptr=block + 16)
    x[...] = cp.arange(4)
    np.testing.assert_array_equal(y.get(), [2, 3])
    del x, block
    np.testing.assert_array_equal(y.get(), [2, 3])


# -- graphs and memory --------------------------------------------------------------------------


def capture(stream: Any, work: Any) -> Any:
    with stream:
        stream.begin_capture()
        work()
        return stream.end_capture()


def test_temporaries_of_a_graph_are_given_to_others_unless_the_pool_is_its_own() -> None:
    """The trap on a GPU: the replay writes into memory that somebody else owns by then."""
    x = cp.full(64, 3.0)
    stream = Stream(non_blocking=True)
    graph = capture(stream, lambda: cp.exp(x) * 2)
    with stream:
        victim = cp.zeros(64)
    graph.launch(stream)
    assert victim.get().any()

    own = MemoryPool()
    with using_allocator(own.malloc):
        graph = capture(stream, lambda: cp.exp(x) * 2)
    with stream:
        safe = cp.zeros(64)
    graph.launch(stream)
    assert not safe.get().any()


def test_a_replay_on_memory_that_went_back_to_the_driver_fails() -> None:
    pool = MemoryPool()
    out = cp.zeros(64)
    with using_allocator(pool.malloc):
        arrays = [cp.full(64, 3.0)]
        graph = capture(Stream(non_blocking=True), lambda: cp.exp(arrays[0], out=out))
    graph.launch()
    arrays.clear()
    gc.collect()
    graph.launch()  # in the pool still: CUDA knows the address
    with Stream(non_blocking=True):
        pool.free_all_blocks()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch()


@pytest.mark.parametrize(
    "use",
    [
        lambda x: cp.cuda.runtime.memcpyAsync(x.data.ptr, 4096, 8, 3, 0),
        lambda x: cp.cuda.runtime.memsetAsync(x.data.ptr, 0, 1 << 20, 0),
        lambda x: x.data.memset(0, 1 << 20),
        lambda x: x.data.copy_from_device(x.data, 1 << 20),
    ],
)
def test_addresses_outside_the_devices_memory_are_refused(use: Any) -> None:
    pool = MemoryPool()
    with using_allocator(pool.malloc):
        x = cp.zeros(8)
    with pytest.raises(CUDARuntimeError, match=r"cudaErrorIllegalAddress|cudaErrorInvalidValue"):
        use(x)


def test_copies_by_address() -> None:
    runtime = cp.cuda.runtime
    x, y, host = cp.arange(4.0), cp.zeros(4), np.zeros(4)
    with simgpu.count() as counters:
        runtime.memcpyAsync(y.data.ptr, x.data.ptr, 32, runtime.memcpyDeviceToDevice, 0)
        runtime.memcpy(host.ctypes.data, y.data.ptr, 32, runtime.memcpyDefault)
        host += 1
        runtime.memcpy(x.data.ptr, host.ctypes.data, 32, runtime.memcpyDefault)
        runtime.memset(y.data.ptr, 0, 32)
    counts = counters.d2d_copies, counters.d2h_copies, counters.h2d_copies, counters.memsets
    assert counts == (1, 1, 1, 1)
    np.testing.assert_array_equal(x.get(), [1, 2, 3, 4])
    np.testing.assert_array_equal(y.get(), np.zeros(4))


def test_pinned_memory() -> None:
    pinned = cp.cuda.alloc_pinned_memory(1000)
    assert pinned.size() == 1024
    view = np.frombuffer(pinned, np.float32, 250)
    view[:] = 2
    x = cp.zeros(250, np.float32)
    x.data.copy_from_host_async(pinned.ptr, 1000)
    np.testing.assert_array_equal(x.get(), view)


def test_a_pool_of_the_driver_keeps_what_is_freed_until_it_is_trimmed(cp: Any) -> None:
    pool = cp.cuda.MemoryAsyncPool()
    block = pool.malloc(512)
    reserved = pool.total_bytes()
    assert (pool.used_bytes(), reserved) == (512, 32 << 20)
    free, _ = cp.cuda.runtime.memGetInfo()
    del block
    assert (pool.used_bytes(), pool.total_bytes()) == (0, reserved)
    # Not cupy.cuda.alloc, which gives back what CuPy's own pool keeps, and then may have enough.
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="out of memory"):
        cp.cuda.runtime.malloc(free - (16 << 20))
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
    pool.set_limit(fraction=0.5)
    assert pool.get_limit() == cp.cuda.runtime.memGetInfo()[1] // 2
    pool.set_limit(size=0)


def test_advice_about_managed_memory_is_checked(cp: Any) -> None:
    memory = cp.cuda.malloc_managed(64).mem
    memory.advise(1, cp.cuda.Device(0))
    memory.prefetch(cp.cuda.Stream.null)
    with pytest.raises(RuntimeError, match="invalid argument"):
        memory.advise(-1, cp.cuda.Device(0))
    with pytest.raises(RuntimeError, match="the only one"):
        memory.prefetch(cp.cuda.Stream.null, device_id=7)

"""What a graph keeps, what it must not overwrite, and when it is gone."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.fused.walk import Fused
from gpunet.gemm import product


@pytest.fixture
def cupy(cp: Any) -> Any:
    """CuPy: on the CPU there is nothing to capture."""
    return cp


def training() -> gn.Step:
    gn.seed(0)
    model = gn.MLP([6, 8, 4], batch_norm=True).to("cuda")
    return gn.Step(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))


def batch(rows: int) -> list[Any]:
    x = np.random.default_rng(rows).standard_normal((rows, 6)).astype(np.float32)
    return [to_device(a, "cuda") for a in (x, np.arange(rows) % 4)]


def test_what_the_first_call_makes_is_not_written_by_another_shapes_graph(cupy: Any) -> None:
    kept: dict[Any, Any] = {}

    def step(x: Any) -> Any:
        if x.shape not in kept:
            kept[x.shape] = cupy.full(x.shape, 7, x.dtype)
        return (x * 2 + 1) * 3 + kept[x.shape]

    captured = gn.capture(step)
    for rows in (4, 4, 4, 3, 4, 3, 3):
        x = cupy.ones((rows, 5), np.float32)
        np.testing.assert_array_equal(to_host(captured(x)), np.full((rows, 5), 16, np.float32))
    assert {to_host(a).min() for a in kept.values()} == {7}


def test_a_graph_keeps_the_buffers_of_its_batch_size(cupy: Any) -> None:
    """However many sizes come, and whatever becomes of free memory; an eager step keeps a few."""
    eager, recorded = training(), training()
    captured = gn.capture(recorded)
    sizes = [3 + k for k in range(Fused.KEPT + 2)]
    for rows in [*sizes, *sizes, *sizes]:
        assert to_host(eager(*batch(rows))) == to_host(captured(*batch(rows)))
        cupy.get_default_memory_pool().free_all_blocks()
    assert eager.fused is not None
    assert recorded.fused is not None
    assert list(eager.fused._batches) == sizes[-Fused.KEPT :]
    assert list(recorded.fused._batches) == sizes


def test_it_is_gone_with_the_last_reference(cupy: Any) -> None:
    captured = gn.capture(training())
    for _ in range(3):
        captured(*batch(5))
    assert captured.graphs is not None
    gone = weakref.ref(captured.graphs)
    gc.disable()
    try:
        del captured
        assert gone() is None
    finally:
        gc.enable()


def test_an_interrupt_leaves_no_capture_behind(cupy: Any) -> None:
    calls = []

    def step(x: Any) -> Any:
        calls.append(x)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return x + 1

    captured, x = gn.capture(step), cupy.ones(3)
    captured(x)
    with pytest.raises(KeyboardInterrupt):
        captured(x)
    assert to_host(captured(x)).tolist() == [2, 2, 2]
    assert to_host(captured(x * 2)).tolist() == [3, 3, 3]


def test_what_the_end_of_a_capture_finds_is_told_like_the_rest(cupy: Any) -> None:
    def step(x: Any) -> Any:
        return x + 1, cupy.cuda.get_current_stream().done  # a question that spoils a capture

    captured, x = gn.capture(step), cupy.ones(3)
    captured(x)
    with pytest.raises(RuntimeError, match="the step cannot be captured"):
        captured(x)


def test_trainings_one_after_another_hold_no_more_memory(cupy: Any) -> None:
    """What they made has the caller's stream for its own, and is there for the next."""
    x = np.random.default_rng(0).standard_normal((24, 6)).astype(np.float32)

    def held() -> int:
        trained = training()
        trainer = gn.Trainer(trained.model, trained.loss, trained.optimizer, phases=False)
        trainer.fit((x, np.arange(24) % 4), (x[:8], np.arange(8) % 4), epochs=3, batch_size=8)
        del trained, trainer
        gc.collect()
        return int(cupy.get_default_memory_pool().total_bytes())

    first, *_, last = [held() for _ in range(8)]
    assert last == first


def test_who_captures_may_be_another_thread_than_who_ran_it_first(cupy: Any) -> None:
    captured, found = gn.capture(lambda a, b: product(a, b)), list[Any]()
    x = cupy.ones((4, 4), np.float32)
    captured(x, x)
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(to_host(captured(x, x))))
        thread.start()
        thread.join()
    assert [float(one.sum()) for one in found] == [64, 64]

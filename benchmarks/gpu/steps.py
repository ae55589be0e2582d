"""What verify_gpu checks of the training step: fused as on the tape, captured bit for bit as eager.

A check returns "" or what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.gpu.nets import Make, batch, differing, everything, made, maker, nets, numbers
from benchmarks.gpu.stale import CHANGES, compare_stale
from benchmarks.workloads import Workload
from gpunet.backend import to_device, to_host
from gpunet.train.launches import AT_ONCE

Check = Callable[[], str]
Around = Callable[[int], Any]  # a context for step k

STEPS = 20
WRAPPING = {"cuda": 600, "sim": 20}  # steps: more than an optimizer's table on the device has rows
TRAINED = {"cuda": ("float32", "float64"), "sim": ("float32",)}
TRAININGS: dict[str, dict[str, Any]] = {
    "tape": {"fuse": False},
    "accumulated": {"accumulate": 2},
    "bytes": {"rescale": True},
}
LONG, SHORT = 1500, 3  # rows: of a batch that takes two launches a layer, of an epoch's last batch
# Of the largest gradient of a step, and of a loss in training, where errors grow.
GRADIENTS = {"float32": 2e-5, "float64": 1e-12}
LOSSES = {"float32": 5e-3, "float64": 1e-9}


def step(place: str) -> dict[str, Any]:
    """{"checks": {what: "" or what is wrong}}."""
    return {"checks": {what: outcome(check) for what, check in listed(place)}}


def outcome(check: Check) -> str:
    """What it found. An error does not end the checks behind it, though a GPU may not recover."""
    try:
        return check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def listed(place: str) -> Iterator[tuple[str, Check]]:
    """Every check with its name."""
    for name, w in nets(place).items():
        long = replace(w, batch=LONG)
        for dtype in GRADIENTS:
            make = maker(w, dtype)
            yield f"{name} {dtype} fused", partial(compare_fused, w, dtype)
            yield f"{name} {dtype} fused, {LONG} rows", partial(compare_fused, long, dtype, 2)
            yield f"{name} {dtype} captured", partial(compare_captured, make, w)
            yield f"{name} {dtype} captured, {LONG} rows", partial(compare_captured, make, long, 4)
            if dtype in TRAINED[place]:
                yield f"{name} {dtype} training", partial(compare_training, w, dtype)
    rich = nets(place)["W2"]
    yield from otherwise(rich, WRAPPING[place])
    yield "own function", partial(compare_own, rich)
    for what, change in CHANGES.items():
        yield f"stale: {what}", partial(compare_stale, rich, change)


def otherwise(w: Workload, wrapping: int) -> Iterator[tuple[str, Check]]:
    """Captured on the tape, with a schedule, in other circumstances, and in other trainings."""
    make, tape = maker(w, "float32"), maker(w, "float32", fuse=False)
    scheduled = maker(w, "float32", lr=lambda t: 0.01 / (1 + t), clip_norm=1.0)
    memory, stream = other_memory(), other_stream()
    yield "captured, tape", partial(compare_captured, tape, w)
    yield "captured, schedule and clipping", partial(compare_captured, scheduled, w, wrapping)
    yield "captured, other memory", partial(compare_captured, make, w, around=memory)
    yield "captured, tape, other memory", partial(compare_captured, tape, w, around=memory)
    yield "captured, another stream", partial(compare_captured, make, w, around=stream)
    yield "captured, another thread", lambda: in_a_thread(lambda: compare_captured(make, w))
    for what, settings in TRAININGS.items():
        yield f"training, {what}", partial(compare_training, w, "float32", **settings)


# Fused, as on the tape


def compare_fused(w: Workload, dtype: str, steps: int = STEPS) -> str:
    fused, tape = made(w, dtype), made(w, dtype, fuse=False)
    if fused.reason:
        return f"not fused: {fused.reason}"
    error = gradient_error(fused, tape, batch(w, dtype, 0))
    if not error <= GRADIENTS[dtype]:
        return f"gradients: error {error:.2g}"
    found, expected = (losses(one, w, dtype, steps) for one in (fused, tape))
    errors = np.abs(found - expected) / np.maximum(np.abs(expected), 1)
    if not errors.max() <= LOSSES[dtype]:
        return f"losses: error {errors.max():.2g}, at step {int(errors.argmax()) + 1}"
    return ""


def gradient_error(fused: gn.Step, tape: gn.Step, arrays: list[Any]) -> float:
    """The largest error of an element of any gradient, as a part of the largest gradient."""
    for one in (fused, tape):
        one.gradients(*arrays)
    pairs = zip(fused.model.parameters(), tape.model.parameters(), strict=True)
    both = [(to_host(p.grad), to_host(q.grad)) for p, q in pairs]
    largest = max(float(np.abs(q).max()) for _, q in both)
    return max(float(np.abs(p - q).max()) for p, q in both) / largest


def losses(one: gn.Step, w: Workload, dtype: str, steps: int) -> Any:
    """Of `steps` updates; every other one from two batches, the first twice as long."""
    found = []
    for k in range(steps):
        x, t = batch(w, dtype, k)
        cut = len(x) // 3 * 2
        if k % 2 == 0:
            found.append(one(x, t))
            continue
        share = cut / len(x)
        found.append(one.gradients(x[:cut], t[:cut], share))
        found.append(one.gradients(x[cut:], t[cut:], 1 - share, add=True))
        one.optimizer.step()
    return np.array([float(to_host(value)) for value in found])


# Captured, as eager


def compare_captured(make: Make, w: Workload, steps: int = 6, around: Around | None = None) -> str:
    """`gn.capture` of a step beside the step itself. around: where the captured one is called."""
    eager, recorded = make(), make()
    captured = gn.capture(recorded)
    dtype = eager.model.parameters()[0].dtype.name
    batches = [batch(w, dtype, k) for k in range(4)]
    for k in range(steps):
        expected = eager(*batches[k % 4])
        gn.backend.cupy().cuda.runtime.deviceSynchronize()  # `around` may be another stream
        with around(k) if around else nullcontext():
            value = captured(*batches[k % 4])
            same = to_host(value).tobytes() == to_host(expected).tobytes()
        if not same:
            return f"step {k + 1}: loss {float(value)!r}, eager {float(expected)!r}"
    if captured.graphs is None or len(captured.graphs.by_key) != 1:
        return "not one graph"
    return differing(everything(recorded), everything(eager))


def other_memory() -> Around:
    """Before each step free memory is taken, spoilt, and given back, some of it to the driver."""
    cupy = gn.backend.cupy()

    @contextmanager
    def around(k: int) -> Iterator[None]:
        taken = [cupy.full(2**n, np.nan) for n in range(4, 20)]
        del taken
        if k % 2:
            cupy.get_default_memory_pool().free_all_blocks()
        yield

    return around


def other_stream() -> Around:
    """Each step on the other of two streams."""
    cupy = gn.backend.cupy()
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]

    @contextmanager
    def around(k: int) -> Iterator[None]:
        with streams[k % 2] as stream:
            yield
            stream.synchronize()

    return around


def in_a_thread(check: Check) -> str:
    """The check in a thread of its own, which has cuBLAS handles of its own."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(outcome(check)))
    thread.start()
    thread.join()
    return found[0]


def compare_training(w: Workload, dtype: str, **settings: Any) -> str:
    """A Trainer with capture beside one without."""
    captured, eager = (trained(w, dtype, capture=c, **settings) for c in (True, False))
    return differing(captured, eager)


def compare_streaming(w: Workload, dtype: str) -> str:
    """A Trainer whose data stays on the host beside one whose data lies on the GPU."""
    streamed, resident = (trained(w, dtype, stream=s) for s in (True, False))
    return differing(streamed, resident)


def trained(
    w: Workload,
    dtype: str,
    *,
    fuse: bool = True,
    rescale: bool = False,
    capture: bool | str = "auto",
    accumulate: int = 1,
    stream: bool = False,
) -> dict[str, Any]:
    """What two epochs, each with a short batch at its end, leave behind: losses and all arrays."""
    rows = w.batch * (AT_ONCE + 3) * accumulate + SHORT
    data = numbers(w, "uint8" if rescale else dtype, rows)
    one = made(w, dtype, rescale=rescale)
    trainer = gn.Trainer(
        one.model, one.loss, one.optimizer, fuse=fuse, capture=capture, progress=False
    )
    trainer.fit(data, epochs=2, batch_size=w.batch, accumulate=accumulate, stream=stream)
    return {"losses": np.array(trainer.history["train_loss"]), **everything(one)}


def compare_own(w: Workload) -> str:
    """A function of layers, a product and a loss that gpunet does not know."""

    def make() -> tuple[Callable[..., Any], list[gn.Parameter]]:
        gn.seed(0)
        width = w.sizes[1]
        layers = (gn.BatchNorm(width), gn.Tanh(), gn.Dropout(0.3))
        model = gn.Sequential(gn.Affine(w.sizes[0], width, bias=False), *layers).to("cuda")
        head = gn.Parameter(to_device(np.full((width, 3), 0.1, np.float32), "cuda"))
        optimizer = gn.AdamW([*model.parameters(), head])

        def own(x: Any, t: Any) -> Any:
            error = (model(x) @ head).exp() - gn.Tensor(t).reshape(-1, 1)
            value = (error * error).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value, error

        return own, optimizer.parameters

    (eager, expected), (function, found) = make(), make()
    captured = gn.capture(function)
    for k in range(5):
        x, t = batch(w, "float32", k)
        t = t.astype(np.float32) / 10
        pairs = zip(eager(x, t), captured(x, t), strict=True)
        for name, (tensor, array) in zip(("loss", "errors"), pairs, strict=True):
            if to_host(tensor.data).tobytes() != to_host(array).tobytes():
                return f"step {k + 1}: another {name}"
    arrays = [{str(k): to_host(p.data) for k, p in enumerate(ps)} for ps in (found, expected)]
    return differing(*arrays)

"""gn.capture: a step as a CUDA graph, on the simulated GPU bit for bit the step itself."""

from __future__ import annotations

import copy
import re
import sys
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.context import observe
from gpunet.graphs import Results
from gpunet.testing import simgpu

ROWS, FEATURES, CLASSES = 12, 6, 4


@pytest.fixture
def gpu(cp: Any) -> Any:
    """CuPy, real or on the simulated GPU: on the CPU there is nothing to capture."""
    return cp


def data(seed: int = 0, rows: int = ROWS) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, FEATURES)).astype(np.float32)
    return x, generator.integers(0, CLASSES, rows)


def on_gpu(*arrays: Any) -> list[Any]:
    return [to_device(a, "cuda") for a in arrays]


def net(kind: str) -> gn.Sequential:
    gn.seed(3)
    rich = {"batch_norm": True, "dropout": 0.3} if kind == "rich" else {}
    return gn.MLP([FEATURES, 8, 7, CLASSES], **rich)


def step_of(
    kind: str = "rich", optimizer: str = "adam", fuse: bool = True, **settings: Any
) -> gn.Step:
    model = net(kind).to("cuda")
    made = gn.OPTIMIZERS[optimizer](model.parameters(), **settings)
    return gn.Step(model, gn.SoftmaxWithLoss(), made, fuse=fuse)


def everything(step: gn.Step) -> list[Any]:
    arrays = [*step.model.state_dict().values(), *step.optimizer.buffers()]
    calls = [k.calls for _, k in step.model.named_layers() if isinstance(k, gn.Dropout)]
    return [*map(to_host, arrays), calls, step.optimizer.t]


def assert_same(a: gn.Step, b: gn.Step) -> None:
    for one, two in zip(everything(a), everything(b), strict=True):
        np.testing.assert_array_equal(one, two)


def assert_captured_equals_eager(make: Any, steps: int = 5) -> None:
    eager, recorded = make(), make()
    captured = gn.capture(recorded)
    for k in range(steps):
        batch = on_gpu(*data(k))
        a, b = eager(*batch), captured(*batch)
        assert to_host(a) == to_host(b)
    assert captured.graphs is not None
    assert len(captured.graphs.by_key) == 1
    assert_same(eager, recorded)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("kind", ["plain", "rich"])
# No state; corrections by t; arrays that options bring; states that begin elsewhere.
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "cocob"])
def test_an_optimizer(optimizer: str, kind: str, fuse: bool, gpu: Any) -> None:
    assert_captured_equals_eager(lambda: step_of(kind, optimizer, fuse))


def warm_up(t: int) -> float:
    return 0.01 * min(1.0, (t + 1) / 3)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"clip_norm": 0.05},
        {"clip_value": 1e-3},
        {"lr": warm_up},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decay_all": True, "clip_norm": 0.05, "lr": warm_up},
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "cocob"])
def test_clipping_decay_and_schedules(
    optimizer: str, settings: dict[str, Any], fuse: bool, gpu: Any
) -> None:
    if optimizer == "cocob":
        settings = {k: v for k, v in settings.items() if k != "lr"}
    assert_captured_equals_eager(lambda: step_of("rich", optimizer, fuse, **settings))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05, "lr": warm_up}], ids=", ".join)
def test_a_training(accumulate: int, settings: dict[str, Any], fuse: bool, gpu: Any) -> None:
    """Short batches, epochs of several graphs, many updates a launch, and accumulation."""
    x, t = data(rows=8 * 62 + 5)
    fitted = []
    for capture in (False, True):
        model = net("rich").to("cuda")
        optimizer = gn.Adam(model.parameters(), **settings)
        loss = gn.SoftmaxWithLoss(label_smoothing=0.1)
        trainer = gn.Trainer(model, loss, optimizer, fuse=fuse, capture=capture)
        trainer.fit((x, t), epochs=2, batch_size=8, accumulate=accumulate)
        fitted.append(trainer)
    eager, captured = fitted
    assert eager.history["train_loss"] == captured.history["train_loss"]
    assert_same(*(gn.Step(k.model, k.loss, k.optimizer) for k in fitted))


def test_a_launch_is_all_that_a_step_costs(sim: Any) -> None:
    step = gn.capture(step_of())
    batch = on_gpu(*data())
    step(*batch)
    step(*batch)
    with simgpu.count() as counters:
        step(*batch)
    assert (counters.graph_launches, counters.launches) == (1, 0)
    assert counters.d2d_copies == 3  # x, t, the loss
    assert counters.d2h_copies == counters.h2d_copies == counters.synchronisations == 0
    assert counters.allocations == 0


def test_inputs_that_lie_where_the_graph_reads_them_are_not_copied(sim: Any) -> None:
    eager, captured = step_of(), gn.capture(step_of())
    held = captured.inputs(*on_gpu(*data()))
    assert captured.inputs(*on_gpu(*data(1))) is held
    for k in range(4):
        batch = on_gpu(*data(k))
        for own, given in zip(held, batch, strict=True):
            own[...] = given
        with simgpu.count() as counters:
            loss = captured(*held)
        assert float(loss) == float(eager(*batch))
    assert counters.d2d_copies == 1
    assert_same(eager, captured.step)
    batch = on_gpu(*data(4))
    assert float(captured(*batch)) == float(eager(*batch))  # others may be given as well
    with pytest.raises(TypeError, match="on a GPU"):
        captured.inputs(np.zeros((2, 3)))


def test_how_little_the_host_does_for_a_launch(gpu: Any) -> None:
    """No parameter is looked at, and no array made. (Of our functions 89 were called, 50 are.)"""
    step, batch = gn.capture(step_of()), on_gpu(*data())
    for _ in range(3):
        step(*batch)
    calls = []

    def see(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "gpunet" in frame.f_code.co_filename:
            calls.append(frame.f_code.co_name)

    sys.setprofile(see)
    try:
        step(*batch)
    finally:
        sys.setprofile(None)
    assert "places" not in calls
    assert len(calls) <= 60, calls


def test_the_loss_is_an_array_of_its_own(gpu: Any) -> None:
    step = gn.capture(step_of())
    losses = [step(*on_gpu(*data(k))) for k in range(4)]
    values = [float(one) for one in losses]
    assert len(set(values)) == 4
    batch = on_gpu(*data(9))
    for _ in range(Results.ROW + 2):
        step(*batch)
    assert [float(one) for one in losses] == values


def test_numpy_arrays_run_as_they_are() -> None:
    model = net("rich")
    plain = copy.deepcopy(model)
    steps = []
    for one in (model, plain):
        steps.append(gn.Step(one, gn.SoftmaxWithLoss(), gn.Adam(one.parameters())))
    captured = gn.capture(steps[0])
    for k in range(3):
        assert captured(*data(k)) == steps[1](*data(k))
    assert captured.graphs is None


def test_a_function_of_ones_own(gpu: Any) -> None:
    """Layers, ops and losses that nothing here knows of."""

    def make(capture: bool) -> tuple[Any, Any]:
        model = net("rich").to("cuda")
        optimizer = gn.Momentum(model.parameters(), lr=0.05)

        def step(x: Any, y: Any) -> Any:
            error = model(x).exp() - y
            value = (error * error).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            return value, error

        return model, gn.capture(step) if capture else step

    (eager_model, eager), (model, captured) = make(False), make(True)
    x, _ = data()
    for k in range(4):
        arrays = on_gpu(x + k, np.ones((ROWS, CLASSES), np.float32))
        a, b = eager(*arrays), captured(*arrays)
        np.testing.assert_array_equal(to_host(a[0].data), to_host(b[0]))
        np.testing.assert_array_equal(to_host(a[1].data), to_host(b[1]))
    for p, q in zip(eager_model.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(to_host(p.data), to_host(q.data))


# What changes between two calls


def alternate(change: Any, settings: Any = None, graphs: int = 1) -> None:
    """`change(step, k)` before step k, of an eager and of a captured training."""
    eager, recorded = (step_of(**(settings or {})) for _ in range(2))
    captured = gn.capture(recorded)
    for k in range(9):
        for one in (eager, recorded):
            change(one, k)
        batch = on_gpu(*data(k))
        eager(*batch)
        captured(*batch)
    assert_same(eager, recorded)
    assert captured.graphs is not None
    assert len(captured.graphs.by_key) == graphs


def test_a_learning_rate_set_by_hand(gpu: Any) -> None:
    def change(step: gn.Step, k: int) -> None:
        step.optimizer.lr = 0.01 / (k + 1)

    alternate(change)


def test_steps_in_between_that_are_not_captured(gpu: Any) -> None:
    def change(step: gn.Step, k: int) -> None:
        if k in (3, 6):
            step(*on_gpu(*data(100 + k)))

    alternate(change)


def test_more_steps_than_the_table_has_rows(gpu: Any) -> None:
    eager, recorded = (step_of("plain", lr=lambda t: 1e-3 / (1 + t)) for _ in range(2))
    captured = gn.capture(recorded)
    batch = on_gpu(*data())
    for _ in range(600):
        eager(*batch)
        captured(*batch)
    assert_same(eager, recorded)


def test_weights_that_are_loaded(gpu: Any) -> None:
    start = {name: a.copy() for name, a in step_of().model.state_dict().items()}

    def change(step: gn.Step, k: int) -> None:
        if k == 5:
            step.model.load_state_dict(start)

    alternate(change)


def set_eps(step: gn.Step, k: int) -> None:
    step.model[1].eps = 1e-5 if k < 4 else 1e-2


def set_p(step: gn.Step, k: int) -> None:
    step.model[3].p = 0.3 if k < 4 else 0.6


def set_track(step: gn.Step, k: int) -> None:
    step.model[1].track = k < 4


def set_mode(step: gn.Step, k: int) -> None:
    step.model[1].train(k < 4)


def set_clip(step: gn.Step, k: int) -> None:
    step.optimizer.clip_norm = None if k < 4 else 0.05


def set_decay(step: gn.Step, k: int) -> None:
    step.optimizer.groups[0]["weight_decay"] = 0.0 if k < 4 else 0.1


def set_smoothing(step: gn.Step, k: int) -> None:
    step.loss.label_smoothing = 0.0 if k < 4 else 0.2


def exchange_running_mean(step: gn.Step, k: int) -> None:
    if k == 4:
        step.model[1].running_mean = step.model[1].running_mean + 1


def freeze(step: gn.Step, k: int) -> None:
    step.model[0].W.requires_grad = k < 4


def exchange_a_layer(step: gn.Step, k: int) -> None:
    if k == 4:
        layers = step.model.layers
        step.model.layers = (*layers[:2], gn.Sigmoid(), *layers[3:])


@pytest.mark.parametrize(
    "change",
    [
        *(freeze, exchange_a_layer),
        *(set_eps, set_p, set_track, set_mode, set_clip, set_decay, set_smoothing),
        exchange_running_mean,
    ],
)
def test_settings_that_a_graph_cannot_follow_are_recorded_anew(change: Any, gpu: Any) -> None:
    alternate(change)


def test_uneven_calls_of_two_dropouts(gpu: Any) -> None:
    def change(step: gn.Step, k: int) -> None:
        if k == 4:
            step.model[3].calls += 5

    alternate(change)


def test_the_precision_of_products(gpu: Any) -> None:
    def change(step: gn.Step, k: int) -> None:
        gn.matmul_precision("float32" if k < 4 else "tf32")

    try:
        alternate(change)
    finally:
        gn.matmul_precision("float32")


def test_who_watches_sees_every_step(gpu: Any) -> None:
    eager, recorded = step_of(fuse=False), step_of(fuse=False)
    captured = gn.capture(recorded)
    seen: list[str] = []
    for k in range(6):
        batch = on_gpu(*data(k))
        eager(*batch)
        if k in (3, 4):
            with observe(lambda layer, y: seen.append(type(layer).__name__)):
                captured(*batch)
        else:
            captured(*batch)
    assert seen.count("MLP") == 2
    assert_same(eager, recorded)


def test_a_graph_that_no_longer_holds_is_not_launched(gpu: Any) -> None:
    step = step_of()
    captured = gn.capture(step)
    batch = on_gpu(*data())
    captured(*batch)
    captured(*batch)
    (old,) = captured.graphs.by_key.values()  # type: ignore[union-attr]
    step.model.eval()
    captured(*batch)
    captured(*batch)
    (new,) = captured.graphs.by_key.values()  # type: ignore[union-attr]
    assert new is not old


def test_an_optimizer_that_lost_the_parameters(gpu: Any) -> None:
    step = step_of()
    captured = gn.capture(step)
    batch = on_gpu(*data())
    captured(*batch)
    captured(*batch)
    gn.SGD(step.model.parameters())
    with pytest.raises(RuntimeError, match="lost its parameters"):
        captured(*batch)


def test_each_shape_has_a_graph_of_its_own(gpu: Any) -> None:
    eager, recorded = step_of(), step_of()
    captured = gn.capture(recorded)
    for k, rows in enumerate((12, 5, 12, 5, 12, 5, 5, 12)):
        batch = on_gpu(*data(k, rows))
        eager(*batch)
        captured(*batch)
    assert len(captured.graphs.by_key) == 2  # type: ignore[union-attr]
    assert_same(eager, recorded)


# What cannot be captured


def test_reading_the_device_in_a_step(gpu: Any) -> None:
    model = net("plain").to("cuda")
    optimizer = gn.SGD(model.parameters())

    def step(x: Any, t: Any) -> Any:
        loss = gn.softmax_cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    captured = gn.capture(step)
    batch = on_gpu(*data())
    captured(*batch)
    t = optimizer.t
    with pytest.raises(RuntimeError, match="the step cannot be captured"):
        captured(*batch)
    assert optimizer.t == t == 1
    gn.Step(model, gn.SoftmaxWithLoss(), optimizer)(*batch)  # all works as before
    assert optimizer.t == 2


def test_two_updates_in_a_step(gpu: Any) -> None:
    step = step_of()
    twice = gn.capture(lambda x, t: (step(x, t), step(x, t)))
    with pytest.raises(RuntimeError, match="uses Dropout twice"):
        twice(*on_gpu(*data()))


def test_inputs_that_are_no_arrays(gpu: Any) -> None:
    x, t = on_gpu(*data())
    with pytest.raises(TypeError, match="takes CuPy arrays, got ndarray, int"):
        gn.capture(lambda x, k: x)(x, 3)
    with pytest.raises(gn.DeviceError):
        gn.capture(step_of())(x, to_host(t))


# In a training


@pytest.mark.parametrize(
    ("sizes", "batch", "settings", "most"),
    [
        ([784, 100, 10], 100, {}, 10),
        ([784, 256, 128, 10], 128, {"batch_norm": True, "dropout": 0.5}, 15),
    ],
)
@pytest.mark.parametrize("capture", [False, "auto"])
def test_launches_of_a_training_step(
    sizes: list[int], batch: int, settings: Any, most: int, capture: Any, sim: Any
) -> None:
    """The gather of the batch, the products and the update are counted; nothing else happens."""
    from gpunet.train.feed import Feed
    from gpunet.train.groups import Epoch
    from gpunet.train.progress import Progress
    from gpunet.train.updates import updating

    gn.seed(0)
    model = gn.MLP(sizes, **settings).to("cuda")
    optimizer = (gn.Adam if settings else gn.SGD)(model.parameters())
    step = gn.Step(model, gn.SoftmaxWithLoss(), optimizer)
    x, t = np.zeros((batch * 6, 784), np.float32), np.arange(batch * 6) % 10
    feed = Feed((x, t), model, step.loss, "train")
    updates = updating(step, feed, capture)
    epoch = Epoch(feed, np.arange(len(x)), [batch] * 6, 1)
    running = updates.run(epoch, Progress({}, 1, 1))
    for _ in range(4):  # compiled, buffers made, the scalars' table filled, recorded
        next(running)
    with simgpu.count() as counters:
        next(running)
    count = 0
    if capture:
        (recording,) = updates.launches.graphs.by_key.values()  # type: ignore[union-attr]
        count = nodes(recording.graph)
        assert counters.graph_launches == 1
    assert counters.launches + count == most
    assert counters.graph_kernels == count
    told = ("launches", "graph_launches", "graph_kernels")
    assert {name: n for name, n in vars(counters).items() if name not in told and n} == {}


@pytest.mark.gpu
def test_a_captured_step_on_a_gpu_has_as_many_nodes_or_a_few_more() -> None:
    """cuBLAS may split a product in parts and add them: a second node for each of the five."""
    gn.seed(0)
    model = gn.MLP([784, 100, 10]).to("cuda")
    step = gn.capture(gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters())))
    x, t = np.zeros((100, 784), np.float32), np.arange(100) % 10
    for _ in range(2):
        step(*on_gpu(x, t))
    (recording,) = step.graphs.by_key.values()  # type: ignore[union-attr]
    assert 9 <= nodes(recording.graph) <= 10 + 5  # without the gather of the rows


def nodes(graph: Any) -> int:
    """How many a graph has, counted in the picture that CUDA makes of it."""
    return len(re.findall(r'^\s*"[^"]*"\s*\[', graph.debug_dot_str(), re.MULTILINE))


def test_auto_captures_what_is_fused_and_lies_on_the_gpu(gpu: Any) -> None:
    from gpunet.train.feed import Feed
    from gpunet.train.updates import ResidentUpdates, Updates, updating

    step, tape = step_of(), step_of(fuse=False)
    arrays = data(rows=40)
    resident = Feed(arrays, step.model, step.loss, "train")
    streaming = Feed(arrays, step.model, step.loss, "train", stream=True)
    assert updating(step, resident, "auto").captures is True  # type: ignore[union-attr]
    assert updating(step, resident, False).captures is False  # type: ignore[union-attr]
    assert type(updating(tape, resident, "auto")) is Updates
    assert type(updating(tape, resident, True)) is ResidentUpdates
    assert type(updating(step, streaming, "auto")) is Updates
    with pytest.raises(ValueError, match="capture=True: the data streams from the host"):
        updating(step, streaming, True)
    weighted = gn.Step(step.model, gn.SoftmaxWithLoss(class_weights=[1, 2, 3, 4]), step.optimizer)
    with pytest.raises(ValueError, match="capture=True: the loss has class weights"):
        updating(weighted, resident, True)


@pytest.mark.parametrize("capture", [False, "auto", True])
def test_targets_that_the_fused_loss_does_not_take(capture: Any, gpu: Any) -> None:
    x, labels = data(rows=40)
    soft = np.eye(CLASSES, dtype=np.float32)[labels] * 0.9 + 0.025
    fitted = []
    for fuse in (True, False):
        model = net("plain").to("cuda")
        optimizer = gn.Momentum(model.parameters(), lr=0.1)
        trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, fuse=fuse, capture=capture)
        fitted.append(trainer.fit((x, soft), epochs=3, batch_size=8)["train_loss"])
    assert fitted[0] == fitted[1]


def test_capture_takes_three_words() -> None:
    model = net("plain")
    with pytest.raises(ValueError, match="capture must be True, False or"):
        gn.Trainer(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()), capture="yes")


def test_a_streaming_training_equals_a_resident_one(gpu: Any) -> None:
    x, t = data(rows=50)
    fitted = []
    for stream in (False, True):
        model = net("rich").to("cuda")
        trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
        trainer.fit((x, t), valid=(x, t), epochs=3, batch_size=8, stream=stream, accumulate=2)
        fitted.append(trainer)
    assert fitted[0].history["train_loss"] == fitted[1].history["train_loss"]
    assert_same(*(gn.Step(k.model, k.loss, k.optimizer) for k in fitted))
